import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { CommonErrors } from '../common/common.errors';
import { Clock } from '../common/clock';
import { type Page, pageOf, type PageRequest } from '../common/pagination';
import type { Tier, UserPrincipal } from '../common/principal';
import { type Actor, Audit } from '../platform/audit/audit';
import { type Sql, sql } from '../platform/database/one-statement';
import { queryPrepared } from '../platform/database/prepared-statements';
import { lockForSession, lockUser } from './lock-user';
import { erasedUser } from './erased-user';
import { User } from './user.entity';
import { UserErrors } from './users.errors';

/** What a new account starts with. */
export interface NewUser {
  readonly email: string;
  readonly passwordHash: string;
  readonly firstName: string | null;
  readonly lastName: string | null;
  readonly company: string | null;
}

export type Profile = Partial<Pick<User, 'firstName' | 'lastName' | 'company'>>;

@Injectable()
export class UsersService {
  constructor(
    private readonly db: EntityManager,
    private readonly clock: Clock,
    private readonly audit: Audit,
  ) {}

  /**
   * Makes an account, or none when the address is taken: one statement, so two sign-ups at once make one account.
   * @returns the account, or null when the address is taken.
   */
  async create(input: NewUser, tx: EntityManager = this.db): Promise<User | null> {
    const user = this.draft(input);
    const result = await tx
      .createQueryBuilder()
      .insert()
      .into(User)
      .values(user)
      .orIgnore()
      .returning('id')
      .execute();
    return (result.raw as unknown[]).length > 0 ? user : null;
  }

  /** An account that is not stored: what {@link create} would make. */
  draft(input: NewUser): User {
    const now = this.clock.now();
    return Object.assign(new User(), {
      ...input,
      id: uuidv7(),
      role: 'user' as const,
      isActive: true,
      isVerified: false,
      twoFactorEnabled: false,
      billingTier: 'free' as const,
      tierOverride: null,
      monthlyBudgetUsd: null,
      createdAt: now,
      updatedAt: now,
      lastLogin: null,
    });
  }

  /** @throws ApiError `invalid_token` when the account is gone: its owner's token opens nothing any more. */
  async get(id: string, tx: EntityManager = this.db): Promise<User> {
    const user = await tx.findOneBy(User, { id });
    if (!user) throw CommonErrors.invalidCredentials();
    return user;
  }

  /** The account, or null when it is gone. */
  find(id: string, tx: EntityManager = this.db): Promise<User | null> {
    return tx.findOneBy(User, { id });
  }

  /** The id of the account of an address in canonical form, or null. */
  async idOf(email: string, tx: EntityManager = this.db): Promise<string | null> {
    return (await tx.findOne(User, { select: { id: true }, where: { email } }))?.id ?? null;
  }

  /** The account of an address in canonical form, with its password hash, or null. */
  async findForLogin(email: string): Promise<User | null> {
    const { columns } = this.db.dataSource.getMetadata(User);
    const selected = columns.map(({ databaseName, propertyName }) => `${databaseName} AS "${propertyName}"`);
    // A prepared statement, for every log-in begins with it.
    const text = `SELECT ${selected.join(', ')} FROM users WHERE email = $1`;
    const [row] = await queryPrepared<Partial<User>>(this.db, text, [email]);
    return row ? Object.assign(new User(), row) : null;
  }

  /** The account with its password hash, or null when it is gone. */
  findByIdForLogin(id: string, tx: EntityManager = this.db): Promise<User | null> {
    return tx.createQueryBuilder(User, 'user').addSelect('user.passwordHash').where({ id }).getOne();
  }

  /** The account with its password hash. @throws ApiError `invalid_token` when it is gone. */
  async getForLogin(id: string, tx: EntityManager = this.db): Promise<User> {
    const user = await this.findByIdForLogin(id, tx);
    if (!user) throw CommonErrors.invalidCredentials();
    return user;
  }

  /**
   * Replaces the password hash.
   * @param verifiedHash the hash that was just verified: nothing is replaced when it is no longer the account's.
   * @returns whether it was replaced.
   */
  async setPassword(
    id: string,
    passwordHash: string,
    verifiedHash: string | undefined,
    tx: EntityManager = this.db,
  ): Promise<boolean> {
    const { affected } = await tx.update(
      User,
      { id, ...(verifiedHash !== undefined && { passwordHash: verifiedHash }) },
      { passwordHash, updatedAt: this.clock.now() },
    );
    return affected === 1;
  }

  /**
   * Takes everything personal out of an account and shuts it, for good; its address is free again.
   * @param verifiedHash the hash that was just verified.
   * @returns false when the password was changed meanwhile: nothing is erased then.
   */
  async erase(id: string, verifiedHash: string, tx: EntityManager): Promise<boolean> {
    const { affected } = await tx.update(
      User,
      { id, passwordHash: verifiedHash },
      erasedUser(id, this.clock.now()),
    );
    return affected === 1;
  }

  /** Changes the named parts of a profile. @throws ApiError `invalid_token` when the session has ended meanwhile. */
  async updateProfile(owner: UserPrincipal, profile: Profile): Promise<User> {
    return this.db.transaction(async (tx) => {
      const user = await lockForSession(owner, tx);
      const changes = { ...profile, updatedAt: this.clock.now() };
      await tx.update(User, { id: user.id }, changes);
      return Object.assign(user, changes);
    });
  }

  /**
   * The part of a statement (`changeAtOnce`) that notes a log-in, and fails when what the log-in rests on is not true any
   * more: the password, the second factor, that the account is not suspended.
   * @param once whether another log-in since `user` was read makes it fail, too.
   */
  notingLogin(user: User, at: Date, once: boolean): Sql {
    return sql`
      UPDATE users SET last_login = ${at}
      WHERE id = ${user.id} AND password_hash = ${user.passwordHash} AND two_factor_enabled = ${user.twoFactorEnabled}
        AND is_active AND (NOT ${once}::boolean OR last_login IS NOT DISTINCT FROM ${user.lastLogin})
      RETURNING id`;
  }

  /** Caps what metered calls of a month may cost; null takes the cap away. */
  async setMonthlyBudget(id: string, budgetUsd: string | null, tx: EntityManager): Promise<void> {
    await tx.update(User, { id }, { monthlyBudgetUsd: budgetUsd, updatedAt: this.clock.now() });
  }

  /** Marks an address as proven. */
  async markVerified(id: string, tx: EntityManager = this.db): Promise<void> {
    await tx.update(User, { id }, { isVerified: true, updatedAt: this.clock.now() });
  }

  /** Says whether log-in asks for a second factor; holds the account's row until `tx` ends. */
  async setTwoFactor(id: string, twoFactorEnabled: boolean, tx: EntityManager): Promise<void> {
    await tx.update(User, { id }, { twoFactorEnabled, updatedAt: this.clock.now() });
  }

  /** Accounts, newest first; `search` is a part of an address, or an id. */
  async list(search: string | undefined, page: PageRequest): Promise<Page<User>> {
    const query = this.db
      .createQueryBuilder(User, 'user')
      .orderBy('user.id', 'DESC')
      .take(page.limit + 1);
    if (page.before !== null) query.andWhere('user.id < :before', { before: page.before });
    if (search !== undefined) {
      const condition = isUUID(search) ? 'user.id = :search' : 'strpos(user.email, :search) > 0';
      query.andWhere(condition, { search: search.toLowerCase() });
    }
    return pageOf(await query.getMany(), page);
  }

  /** @throws ApiError `user_not_found`. */
  async lookUp(id: string): Promise<User> {
    const user = await this.db.findOneBy(User, { id });
    if (!user) throw UserErrors.notFound();
    return user;
  }

  /**
   * Sets the tier that wins over what billing writes; null gives the word back to billing.
   * @throws ApiError `user_not_found`.
   */
  async overrideTier(id: string, tier: Tier | null, by: Actor, tx: EntityManager): Promise<User> {
    const user = await lockUser(id, tx);
    if (user.tierOverride === tier) return user;
    const details = { from: user.tierOverride, to: tier };
    await this.audit.record({ action: 'tier.changed', by, subjectId: id, details }, tx);
    return this.save(user, { tierOverride: tier }, tx);
  }

  /** @throws ApiError `user_not_found`. */
  async setRole(id: string, role: User['role'], by: Actor, tx: EntityManager): Promise<User> {
    const user = await lockUser(id, tx);
    if (user.role === role) return user;
    const details = { from: user.role, to: role };
    await this.audit.record({ action: 'role.changed', by, subjectId: id, details }, tx);
    return this.save(user, { role }, tx);
  }

  /**
   * Suspends an account (false) or restores it (true).
   * @returns the account, and whether that changed it.
   * @throws ApiError `user_not_found`.
   */
  async setActive(
    id: string,
    isActive: boolean,
    by: Actor,
    tx: EntityManager,
  ): Promise<{ user: User; isChanged: boolean }> {
    const user = await lockUser(id, tx);
    if (user.isActive === isActive) return { user, isChanged: false };
    await this.audit.record({ action: isActive ? 'user.restored' : 'user.suspended', by, subjectId: id }, tx);
    return { user: await this.save(user, { isActive }, tx), isChanged: true };
  }

  private async save(user: User, fields: Partial<User>, tx: EntityManager): Promise<User> {
    const changes = { ...fields, updatedAt: this.clock.now() };
    await tx.update(User, { id: user.id }, changes);
    return Object.assign(user, changes);
  }
}
