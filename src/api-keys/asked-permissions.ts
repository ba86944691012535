import { Inject, Injectable } from '@nestjs/common';
import { servicePermissions } from '../common/service-permissions';
import { ENV, type Env } from '../config/env';
import { ApiKeyErrors } from './api-keys.errors';
import { knownPermissions } from './permissions';

/** The permissions that proxies and backends may ask about: a name that no key can have is a mistake of theirs, which would let pass every key without permissions of its own. */
@Injectable()
export class AskedPermissions {
  private readonly known: readonly string[];

  constructor(@Inject(ENV) env: Env) {
    this.known = [...knownPermissions(env.EXTRA_PERMISSIONS), ...servicePermissions];
  }

  /** @throws ApiError `unknown_permissions`; undefined is nothing asked. */
  check(permission: string | undefined): void {
    if (permission !== undefined && !this.known.includes(permission))
      throw ApiKeyErrors.unknownPermissions([permission], this.known);
  }
}
