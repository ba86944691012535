import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

const DELAY_MS_MAX = 300;

/** What can happen to a chunk of a connection, in either direction. */
type Fault = 'cut' | 'cutWithin' | 'delayed';
const faults: readonly Fault[] = ['cut', 'cutWithin', 'delayed'];

/** Stands between a client and a server on the loopback interface, and breaks their connections at random. */
export class FaultyProxy {
  /** The share of chunks and of new connections to which something happens: 0 to 1. */
  share = 0;
  readonly seen = { connections: 0, chunks: 0, refused: 0, cut: 0, cutWithin: 0, delayed: 0 };
  private readonly sockets = new Set<Socket>();
  private isFrozen = false;
  private readonly server: Server;

  private constructor(private readonly target: URL) {
    this.server = createServer((client) => {
      this.carry(client);
    });
  }

  /** @param url of the server. */
  static async start(url: string): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(new URL(url));
    proxy.server.listen(0, '127.0.0.1');
    await once(proxy.server, 'listening');
    return proxy;
  }

  /** The server's URL, by way of this. */
  get url(): string {
    const { port } = this.server.address() as AddressInfo;
    return Object.assign(new URL(this.target), { host: `127.0.0.1:${port}` }).href;
  }

  /** From now on nothing passes, and nothing is cut: as of a server that has stopped. */
  freeze(): void {
    this.isFrozen = true;
    for (const socket of this.sockets) socket.pause();
  }

  /** What was sent meanwhile arrives now, also from those who wait no longer. */
  thaw(): void {
    this.isFrozen = false;
    for (const socket of this.sockets) socket.resume();
  }

  async end(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
    await once(this.server, 'close');
  }

  private carry(client: Socket): void {
    this.seen.connections++;
    if (this.strikes()) {
      this.seen.refused++;
      client.resetAndDestroy();
      return;
    }
    const upstream = connect(Number(this.target.port), this.target.hostname);
    this.pass(client, upstream);
    this.pass(upstream, client);
  }

  private pass(from: Socket, to: Socket): void {
    this.sockets.add(from);
    from.on('data', (chunk: Buffer) => {
      this.seen.chunks++;
      const fault = this.strikes() ? faults[Math.floor(Math.random() * faults.length)] : undefined;
      if (fault) this.strike(fault, chunk, from, to);
      else to.write(chunk);
    });
    if (this.isFrozen) from.pause();
    from.on('error', () => undefined);
    from.on('close', () => {
      this.sockets.delete(from);
      to.destroy();
    });
  }

  private strike(fault: Fault, chunk: Buffer, from: Socket, to: Socket): void {
    this.seen[fault]++;
    switch (fault) {
      case 'cut':
        to.resetAndDestroy();
        from.destroy();
        break;
      case 'cutWithin':
        // What is written still arrives.
        to.end(chunk.subarray(0, Math.floor(chunk.length / 2)));
        from.destroy();
        break;
      case 'delayed':
        from.pause();
        setTimeout(() => {
          to.write(chunk);
          from.resume();
        }, Math.random() * DELAY_MS_MAX);
    }
  }

  private strikes(): boolean {
    return Math.random() < this.share;
  }
}
