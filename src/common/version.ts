/** The service's name, as its OpenAPI document and its root say it. */
export const SERVICE_TITLE = 'Cortex Memory Auth API';

/** Version of the service and of its API; `package.json` says the same, which a test compares. */
export const VERSION = '1.0.0';
