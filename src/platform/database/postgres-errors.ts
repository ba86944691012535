/** Why the embedded PostgreSQL does not start or stop, and what to do; the message is meant for the terminal. */
export class EmbeddedPostgresError extends Error {
  override name = 'EmbeddedPostgresError';
}

/** Another living service owns the data directory. */
export class DataDirectoryInUseError extends EmbeddedPostgresError {
  override name = 'DataDirectoryInUseError';

  /** @param owner the other one, such as `cortex-auth (process 4711)`. */
  constructor(
    readonly directory: string,
    readonly owner: string,
  ) {
    super(
      `The embedded database in ${directory} is in use by ${owner}. ` +
        'Stop that one first, or give this one another DATA_DIR or a DATABASE_URL.',
    );
  }
}
