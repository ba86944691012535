import type { NpmService } from './npm-service';

const PASSWORD = 'correct horse battery staple';

/** Makes an account and a key. @returns the key, and the account's access token. */
export async function signUp(at: NpmService, email: string): Promise<{ token: string; apiKey: string }> {
  await call(at, 'POST', 'auth/register', undefined, { email, password: PASSWORD });
  const { access_token: token } = await logIn(at, email);
  const { api_key: apiKey } = await call<{ api_key: string }>(at, 'POST', 'auth/api-keys', token, {
    name: 'test',
  });
  return { token, apiKey };
}

export function logIn(at: NpmService, email: string): Promise<{ access_token: string }> {
  return call(at, 'POST', 'auth/login', undefined, { email, password: PASSWORD });
}

/** One metered call. */
export function generate(at: NpmService, apiKey: string): Promise<unknown> {
  return call(at, 'POST', 'generate', apiKey, { user_id: 'somebody', prompt: 'Hello.', provider: 'echo' });
}

/** @throws Error when the answer is not 200. */
export async function call<T>(
  at: NpmService,
  method: string,
  path: string,
  bearer?: string,
  body?: object,
): Promise<T> {
  const answer = await fetch(`${at.url}/api/v1/${path}`, {
    method,
    headers: {
      connection: 'close',
      ...(bearer && { authorization: `Bearer ${bearer}` }),
      ...(body && { 'content-type': 'application/json' }),
    },
    body: body && JSON.stringify(body),
  });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`${method} ${path} answered ${answer.status}: ${text}`);
  return JSON.parse(text) as T;
}
