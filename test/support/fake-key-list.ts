import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';

/** GitHub as far as its secret scanning goes: lists public keys on the loopback, and signs reports. */
export class FakeKeyList {
  /** What the list holds, as GitHub writes it. */
  listed: { key_identifier: string; key: string; is_current: boolean }[] = [];
  /** The status it is answered with. */
  status = 200;
  /** How often it was read. */
  reads = 0;
  url = '';
  private readonly server: Server = createServer((_request, response) => {
    this.reads += 1;
    const elsewhere = this.status === 302 ? { location: `${this.url}/elsewhere` } : {};
    response.writeHead(this.status, { 'content-type': 'application/json', ...elsewhere });
    response.end(JSON.stringify({ public_keys: this.listed }));
  });

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Lists a new key. @returns what signs with it: the headers of a report. */
  addSigner(identifier: string, curve = 'P-256'): (body: string) => Record<string, string> {
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: curve });
    this.list(identifier, publicKey.export({ type: 'spki', format: 'pem' }).toString());
    return (body) => signedHeaders(identifier, privateKey, body);
  }

  list(identifier: string, key: string): void {
    this.listed.push({ key_identifier: identifier, key, is_current: true });
  }
}

function signedHeaders(identifier: string, key: KeyObject, body: string): Record<string, string> {
  return {
    'content-type': 'application/json',
    'github-public-key-identifier': identifier,
    'github-public-key-signature': sign('sha256', Buffer.from(body), key).toString('base64'),
  };
}
