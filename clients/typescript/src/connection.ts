// One socket: `hello`, requests in flight, replies by their id, pings, its end.
//
// Invariants:
// - Each request that was submitted ends once: with its reply, or because it was lost.
// - At most as many requests are in flight as the server accepts. Others wait in their order.
// - Requests go out in the order in which they were submitted.
// - Bytes that are not of the protocol end the connection.
// - Nothing is allocated by a length that the server claims.

import { Buffer } from "node:buffer";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

import { ChatshardError, ClosedError, ConnectionError, ProtocolError } from "./errors.js";
import { commands, type HelloReply } from "./generated.js";
import { Reader, Writer } from "./msgpack.js";
import { type Address, runHook, type Settings } from "./options.js";
import { Queue } from "./queue.js";
import { readError } from "./replies.js";
import { timing } from "./timing.js";

/** A request on its way, and who waits for its replies. */
export interface Request {
  /** The command and its arguments, encoded. */
  readonly body: Buffer;
  readonly isOver: boolean;
  /** The request is on its way under this id. */
  sent(id: number): void;
  /** A reply came; the reader stands at its body. Returns whether more replies follow. */
  replied(status: number, r: Reader): boolean;
  /** No reply comes, because the connection ended. */
  lost(error: ChatshardError, wasSent: boolean): void;
}

/** The largest reply before the server has said its limit. */
const FIRST_REPLY_MAX = 65_536;
/** Unsent bytes at which further requests wait. */
const UNSENT_MAX = 1 << 20;
const scratch = new Writer();
const PING: Request = {
  body: encode(commands.ping.code, (w) => commands.ping.write(w, undefined)),
  isOver: false,
  sent: () => undefined,
  replied: (_, r) => (r.skip(1), false),
  lost: () => undefined,
};

/** Encodes the command and arguments of a request. */
export function encode(code: number, write: (w: Writer) => void): Buffer {
  const w = scratch;
  w.length = 0;
  w.integer(code, "command");
  write(w);
  return w.take();
}

/** Writes the frame of a request. */
export function writeFrame(w: Writer, id: number, body: Buffer): void {
  const start = w.length;
  w.reserve(14 + body.length);
  w.length += 4;
  w.array(3);
  w.integer(id, "request id");
  body.copy(w.bytes, w.length);
  w.length += body.length;
  w.bytes.writeUInt32BE(w.length - start - 4, start);
}

/** The server said nothing for too long. */
export class SilenceError extends ConnectionError {}

/** An open connection. */
export class Connection {
  readonly address: Address;
  /** What the server said about itself. */
  hello!: HelloReply;
  /** Runs once when the connection has ended, if it was open. */
  onEnd: (error: ChatshardError) => void = () => undefined;
  /** Whether events come on it, so that silence ends it without a ping. */
  isWatch = false;

  readonly #settings: Settings;
  readonly #socket: Socket;
  readonly #requests = new Map<number, Request | undefined>();
  readonly #waiting = new Queue<Request>();
  readonly #reader = new Reader();
  readonly #out = new Writer(16_384);
  #nextId = 1;
  #inFlightMax = 1;
  #requestMax = FIRST_REPLY_MAX;
  #replyMax = FIRST_REPLY_MAX;
  #flushIsDue = false;
  #isFull = false;
  #isRetired = false;
  #ended: ChatshardError | undefined;
  #parts: Buffer[] = [];
  #held = 0;
  #needed = 4;
  #heard = performance.now();
  #asked: number | undefined;
  #watchdog: NodeJS.Timeout | undefined;

  private constructor(address: Address, settings: Settings) {
    this.address = address;
    this.#settings = settings;
    this.#socket = dial(address, settings);
    this.#socket.on("data", (bytes: Buffer) => this.#received(bytes));
    this.#socket.on("drain", () => {
      this.#isFull = false;
      this.#fill();
    });
    this.#socket.on("error", (error) => this.end(this.#broken(error)));
    this.#socket.on("close", () => this.end(this.#closed()));
  }

  /** Begins to connect. `opened` resolves when the server has accepted `hello`. */
  static open(address: Address, settings: Settings, shard?: number) {
    const connection = new Connection(address, settings);
    return { connection, opened: connection.#greet(shard) };
  }

  get isEnded(): boolean {
    return this.#ended !== undefined;
  }

  /** Requests in flight. */
  get inFlight(): number {
    return this.#requests.size;
  }

  /** The largest request that the server takes, in bytes. */
  get requestMax(): number {
    return this.#requestMax;
  }

  /** Whether a request would be sent at once. */
  get hasPlace(): boolean {
    return (
      this.#requests.size < this.#inFlightMax &&
      !this.#isFull &&
      this.#out.length < UNSENT_MAX &&
      this.#waiting.isEmpty
    );
  }

  /** Sends a request, or lets it wait for a place. */
  submit(request: Request): void {
    if (this.#ended !== undefined) request.lost(this.#ended, false);
    else if (this.hasPlace) this.#send(request);
    else this.#waiting.push(request);
  }

  /** Nobody waits for this request any more: 0 is one that waits for a place. */
  abandon(id: number): void {
    if (id === 0) this.#waiting.ended();
    // Its place is free only when its reply comes.
    else if (this.#requests.has(id)) this.#requests.set(id, undefined);
  }

  /** Stops or continues to read, for a reader that is slower than the server. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#socket.pause();
    else {
      this.#heard = performance.now();
      this.#socket.resume();
    }
  }

  /** Ends when the requests in flight have their replies. Those that wait are lost at once. */
  retire(): void {
    this.#isRetired = true;
    for (const request of this.#waiting.clear()) request.lost(new ClosedError(), false);
    this.#endIfRetired();
  }

  /** Ends now. Requests in flight are lost. */
  end(error: ChatshardError): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    clearInterval(this.#watchdog);
    this.#socket.destroy();
    const requests = [...this.#requests.values()];
    this.#requests.clear();
    this.#parts = [];
    for (const request of requests) request?.lost(error, true);
    for (const request of this.#waiting.clear()) request.lost(error, false);
    if (this.hello === undefined) return;
    this.onEnd(error);
    const address = this.address.text;
    runHook(() => this.#settings.hooks.onDisconnect?.({ address, error }));
  }

  async #greet(shard: number | undefined): Promise<this> {
    const { token, name, staleMs, connectTimeoutMs, hooks } = this.#settings;
    const timer = setTimeout(() => this.end(this.#late()), connectTimeoutMs);
    try {
      this.hello = await new Promise<HelloReply>((resolve, reject) => {
        this.submit({
          body: encode(commands.hello.code, (w) =>
            commands.hello.write(w, { token, client: name, shard, staleMs }),
          ),
          isOver: false,
          sent: () => undefined,
          replied: (status, r) => {
            if (status === 200) resolve(commands.hello.read(r));
            else reject(readError(status, r, true));
            return false;
          },
          lost: reject,
        });
      });
    } catch (error) {
      const known = error instanceof ChatshardError ? error : new ConnectionError(String(error));
      this.end(known);
      throw known;
    } finally {
      clearTimeout(timer);
    }
    // It may have ended between the reply and this line.
    if (this.#ended !== undefined) throw this.#ended;
    const { limits } = this.hello;
    this.#inFlightMax = Math.max(1, limits.inFlight);
    this.#requestMax = limits.requestBytes;
    this.#replyMax = limits.replyBytes;
    const often = Math.min(timing.silence / 20, limits.idleMs / 8);
    this.#watchdog = setInterval(() => this.#watch(), often);
    this.#watchdog.unref();
    runHook(() => hooks.onConnect?.({ address: this.address.text, shard: this.hello.shard }));
    return this;
  }

  #send(request: Request): void {
    const id = this.#nextId++;
    if (this.#requests.size === 0) this.#heard = performance.now();
    this.#requests.set(id, request);
    writeFrame(this.#out, id, request.body);
    if (!this.#flushIsDue) {
      this.#flushIsDue = true;
      // Requests of one turn of the event loop go out in one write.
      process.nextTick(() => this.#flush());
    }
    request.sent(id);
  }

  #flush(): void {
    this.#flushIsDue = false;
    if (this.#ended === undefined && !this.#socket.write(this.#out.take())) this.#isFull = true;
  }

  /** Sends those that wait, as far as there is place. */
  #fill(): void {
    while (
      !this.#waiting.isEmpty &&
      !this.#isFull &&
      this.#requests.size < this.#inFlightMax &&
      this.#out.length < UNSENT_MAX
    ) {
      const request = this.#waiting.shift();
      if (request !== undefined) this.#send(request);
    }
    this.#endIfRetired();
  }

  #endIfRetired(): void {
    if (this.#isRetired && this.#requests.size === 0) this.end(new ClosedError());
  }

  #received(chunk: Buffer): void {
    this.#heard = performance.now();
    this.#asked = undefined;
    let bytes = chunk;
    if (this.#held > 0) {
      this.#parts.push(chunk);
      this.#held += chunk.length;
      if (this.#held < this.#needed) return;
      bytes = Buffer.concat(this.#parts, this.#held);
    }
    try {
      const rest = this.#frames(bytes);
      this.#parts = rest.length > 0 ? [rest] : [];
      this.#held = rest.length;
    } catch (error) {
      this.end(error instanceof ChatshardError ? error : new ProtocolError(String(error)));
      return;
    }
    if (this.#ended === undefined) this.#fill();
  }

  /** Takes all whole frames. Returns the bytes behind them. */
  #frames(bytes: Buffer): Buffer {
    let at = 0;
    this.#needed = 4;
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at);
      if (length === 0 || length > this.#replyMax) throw this.#badLength(length);
      this.#needed = 4 + length;
      if (bytes.length - at < this.#needed) break;
      this.#frame(bytes, at + 4, at + this.#needed);
      if (this.#ended !== undefined) return Buffer.alloc(0);
      at += this.#needed;
      this.#needed = 4;
    }
    return at === 0 ? bytes : bytes.subarray(at);
  }

  #frame(bytes: Buffer, start: number, end: number): void {
    const r = this.#reader.reset(bytes, start, end);
    const more = r.array(3);
    const id = r.integer();
    const status = r.integer();
    // Without a request the error is of the connection.
    if (id === 0) throw readError(status, r, true);
    const request = this.#requests.get(id);
    if (request === undefined) {
      const wasSent = this.#requests.delete(id);
      if (!wasSent) throw new ProtocolError(`${this.#name}: a reply to no request`);
      r.skip(1);
    } else {
      this.#deliver(id, request, status, r);
    }
    r.skip(more);
    r.finish();
  }

  #deliver(id: number, request: Request, status: number, r: Reader): void {
    try {
      if (request.replied(status, r) && status === 200) return;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const bad = new ProtocolError(`${this.#name}: not a reply of this protocol: ${message}`);
      this.#requests.delete(id);
      request.lost(bad, true);
      throw bad;
    }
    this.#requests.delete(id);
  }

  /** Asks a server that is silent whether it is there, and ends if it stays silent. */
  #watch(): void {
    const now = performance.now();
    const quiet = now - this.#heard;
    if (this.#socket.isPaused()) return;
    if (this.isWatch) {
      if (quiet >= timing.watchSilence) this.end(this.#silent(quiet));
    } else if (this.#asked !== undefined) {
      if (now - this.#asked >= timing.silence) this.end(this.#silent(quiet));
    } else if (quiet >= (this.#requests.size > 0 ? timing.silence : this.hello.limits.idleMs / 2)) {
      this.#send(PING);
      this.#asked = now;
    }
  }

  #silent(quiet: number): ConnectionError {
    return new SilenceError(`${this.#name}: silent for ${Math.round(quiet)} ms`);
  }

  get #name(): string {
    return this.address.text;
  }

  #badLength(length: number): ProtocolError {
    const first = length.toString(16).padStart(8, "0");
    const claimed = `a frame of ${length} bytes`;
    const looks =
      first === "48545450" ? ": this is an HTTP server" :
      first.startsWith("1503") || first.startsWith("1603") ? ": the server speaks TLS, it seems" :
      "";
    return new ProtocolError(`${this.#name}: not a chatshard server: ${claimed}${looks}`);
  }

  #late(): ConnectionError {
    const isOpen = !this.#socket.connecting;
    const what = isOpen ? "it accepts connections, but did not reply" : "no connection";
    return new ConnectionError(`${this.#name}: ${what} in ${this.#settings.connectTimeoutMs} ms`);
  }

  #closed(): ConnectionError {
    const early = this.hello === undefined ? " before hello" : "";
    return new ConnectionError(`${this.#name}: the server ended the connection${early}`);
  }

  #broken(error: Error & { code?: string }): ConnectionError {
    const isTls = this.#settings.tls !== undefined;
    const isPlain = isTls && /wrong version|handshake failure/i.test(error.message);
    const advice = isPlain ? "; the server speaks no TLS, it seems" : "";
    const message = error.message.trim() || error.code || "no connection";
    return new ConnectionError(`${this.#name}: ${message}${advice}`, "notApplied", error);
  }
}

function dial(address: Address, { tls }: Settings): Socket {
  const { path, host, port } = address;
  if (path !== undefined) return connectTcp({ path });
  const target = { host, port: port!, noDelay: true };
  // A unix socket needs no TLS: the owner of its file identifies the server.
  if (tls === undefined) return connectTcp(target);
  const servername = tls.serverName ?? (isIP(host!) === 0 ? host : undefined);
  const names = { ...(servername && { servername }), ...(tls.ca && { ca: tls.ca }) };
  return connectTls({ ...target, ...names });
}
