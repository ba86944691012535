import { Column, Entity, PrimaryColumn } from 'typeorm';

/** The price of an operation, from a moment on. Prices are only ever added: the ledger's lines name their versions. */
@Entity('prices')
export class Price {
  @PrimaryColumn('uuid')
  id!: string;

  /** Counts up from 1; 0 are the default rates of `start-up-prices.ts`. */
  @Column('integer', { unique: true })
  version!: number;

  @Column('text')
  operation!: string;

  /** Null: every provider, as for the model. */
  @Column('text', { nullable: true })
  provider!: string | null;

  @Column('text', { nullable: true })
  model!: string | null;

  /** US dollars for a million tokens. */
  @Column('numeric', { precision: 18, scale: 6 })
  inputUsdPerMillion!: string;

  @Column('numeric', { precision: 18, scale: 6 })
  outputUsdPerMillion!: string;

  /** Of input that the provider had in its cache. */
  @Column('numeric', { precision: 18, scale: 6 })
  cachedUsdPerMillion!: string;

  /** US dollars for each call. */
  @Column('numeric', { precision: 18, scale: 6 })
  requestUsd!: string;

  @Column('timestamptz')
  effectiveFrom!: Date;

  /** The day of the list of public prices that it comes from; null: an admin set it. */
  @Column('date', { nullable: true })
  publicAsOf!: string | null;

  @Column('timestamptz')
  createdAt!: Date;
}
