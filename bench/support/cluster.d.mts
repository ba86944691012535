import type { ChildProcess } from 'node:child_process';

/** A process of the service. */
export interface Member {
  readonly url: string;
  readonly subject: { readonly child: ChildProcess };
}

export interface Cluster {
  /** Of nginx. */
  readonly url: string;
  readonly members: readonly Member[];
  /** Of PostgreSQL itself, past the pooler. */
  readonly databaseUrl: string;
  readonly pooledUrl: string;
  readonly redisUrl: string | undefined;
  restart(index: number): Promise<{ readonly code: number | null; readonly endMs: number }>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly processes?: number;
  readonly redis?: boolean;
  readonly settings?: Readonly<Record<string, string>>;
  readonly durable?: boolean;
}

export function missingPackages(): string[];
export function startCluster(directory: string, options?: ClusterOptions): Promise<Cluster>;
export function startPgBouncer(
  directory: string,
  postgresUrl: string,
): Promise<{ readonly url: string; end(): Promise<void> }>;
