// What the tests share: servers that can be killed, fake servers, and the vectors.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { type Client, connect } from "../src/index.js";
import { Reader, Writer } from "../src/msgpack.js";
import type { ClientOptions } from "../src/options.js";

export const PROGRAM = process.env["CHATSHARD_BIN"] ?? "chatshard";
/** The directory of the client, from `build/test`. */
export const HERE = join(dirname(fileURLToPath(import.meta.url)), "..", "..");

// Whatever a test does, the client leaves no rejection without a handler.
process.on("unhandledRejection", (reason) => {
  console.error("a rejection without a handler:", reason);
  process.exitCode = 1;
  process.exit(1);
});

/** A port that was free just now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** A server with a directory and a port of its own, which can be killed and started again. */
export class Node {
  readonly directory = mkdtempSync(join(tmpdir(), "chatshard-ts-"));
  readonly port: number;
  readonly http: number;
  readonly address: string;
  readonly #args: string[];
  #child: ChildProcess | undefined;
  #said = "";

  private constructor(port: number, http: number, args: string[]) {
    this.port = port;
    this.http = http;
    this.address = `127.0.0.1:${port}`;
    this.#args = args;
    process.once("exit", () => this.#child?.kill("SIGKILL"));
  }

  static async start(...args: string[]): Promise<Node> {
    const node = new Node(await freePort(), await freePort(), args);
    await node.start("--init");
    return node;
  }

  async start(...more: string[]): Promise<void> {
    const doors = ["--listen", this.address, "--http", `127.0.0.1:${this.http}`, "--admin", "off"];
    const child = spawn(
      PROGRAM,
      ["serve", "--data-dir", this.directory, ...doors, ...this.#args, ...more],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#child = child;
    let hasFailed: unknown;
    child.once("error", (error) => (hasFailed = error));
    child.stderr!.setEncoding("utf8").on("data", (text) => (this.#said += text));
    for (let i = 0; i < 600; i++) {
      if (hasFailed || child.exitCode !== null) break;
      if (await answers(this.port)) return;
      await sleep(25);
    }
    throw new Error(`${PROGRAM} did not start: ${hasFailed ?? this.#said}`);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    this.#child = undefined;
    child.kill(signal);
    if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

async function answers(port: number): Promise<boolean> {
  const { connect } = await import("node:net");
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Runs with a client that is closed at the end. */
export async function withClient<T>(
  options: ClientOptions,
  run: (client: Client) => Promise<T>,
): Promise<T> {
  const client = await connect(options);
  try {
    return await run(client);
  } finally {
    await client.close();
  }
}

/** One case of the vectors. */
export interface Case {
  name: string;
  command: string | null;
  request_id: number;
  arguments: Record<string, unknown>;
  request: string;
  status: number;
  body: any;
  compare: "exact" | "message" | "texts" | "fields";
  reply: string;
}

export interface Vectors {
  conversation: Case[];
  members: Case[];
  errors: Case[];
  events: Case[];
  forms: Case[];
  slots: { key: string; seed: number; hash: string; slot: number; shard_of_4: number }[];
  varying_texts: string[];
}

export function vectors(): Vectors {
  const path = join(HERE, "..", "..", "docs", "reference", "protocol-vectors.json");
  return JSON.parse(readFileSync(path, "utf8")) as Vectors;
}

export function camel(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

/** JSON of the vectors with the names of this client. */
export function camelKeys(value: any): any {
  if (Array.isArray(value)) return value.map(camelKeys);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, of]) => [camel(key), camelKeys(of)]));
}

/** What a fake server does with a request, whose arguments `r` reads: `undefined` is no reply. */
export type Answer = (
  command: number,
  id: number,
  socket: Socket,
  r: Reader,
) => [number, unknown] | undefined;

/** What a fake server replies to `hello` with these arguments. */
export type Hello = (id: number, a: unknown[], socket: Socket) => Buffer;

/** Reads nil, a string or an integer: what `hello` has. */
function readAny(r: Reader): unknown {
  return r.nil() ? null : r.isString() ? r.string() : r.integer();
}

/** A server that speaks the frames of the protocol, and replies as a test wants. */
export class Fake {
  readonly asked: number[] = [];
  readonly sockets = new Set<Socket>();
  readonly server: Server;
  address = "";

  constructor(answer: Answer, hello: Hello = (id) => frame(id, 200, helloBody())) {
    this.server = createServer((socket) => {
      this.sockets.add(socket);
      socket.on("close", () => this.sockets.delete(socket));
      socket.on("error", () => undefined);
      let held = Buffer.alloc(0);
      socket.on("data", (bytes: Buffer) => {
        held = Buffer.concat([held, bytes]);
        while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
          const end = 4 + held.readUInt32BE(0);
          const r = new Reader().reset(held, 4, end);
          r.array(3);
          const id = r.integer();
          const command = r.integer();
          held = held.subarray(end);
          if (command === 1) socket.write(hello(id, r.list(readAny), socket));
          else if (command === 2) socket.write(frame(id, 200, []));
          else {
            this.asked.push(command);
            const reply = answer(command, id, socket, r);
            if (reply !== undefined) socket.write(frame(id, reply[0], reply[1]));
          }
        }
      });
    });
  }

  async listen(): Promise<this> {
    this.server.listen(0, "127.0.0.1");
    await once(this.server, "listening");
    const { port } = this.server.address() as { port: number };
    this.address = `127.0.0.1:${port}`;
    return this;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

/** The frame of a reply. */
export function frame(id: number, status: number, body: unknown): Buffer {
  const w = new Writer();
  writeAny(w, [id, status, body]);
  const payload = w.take();
  const length = Buffer.alloc(4);
  length.writeUInt32BE(payload.length);
  return Buffer.concat([length, payload]);
}

export function writeAny(w: Writer, value: unknown): void {
  if (value === null) w.nil();
  else if (typeof value === "boolean") w.bool(value, "");
  else if (typeof value === "number") w.integer(value, "");
  else if (typeof value === "bigint") w.bits64(value, "");
  else if (typeof value === "string") w.string(value, "");
  else w.list(value as unknown[], "", writeAny);
}

/** The body of a reply to `hello`, by the first vector. */
export function helloBody(changes: Record<string, unknown> = {}): unknown[] {
  const body = { ...vectors().conversation[0]!.body, shards: 1, shard: 0, ...changes };
  const isRecord = (value: unknown): value is object => value !== null && typeof value === "object";
  return Object.values(body).map((value) => (isRecord(value) ? Object.values(value) : value));
}

export async function until(what: string, isTrue: () => boolean, ms = 5000): Promise<void> {
  const end = performance.now() + ms;
  while (!isTrue()) {
    if (performance.now() > end) throw new Error(`not in ${ms} ms: ${what}`);
    await sleep(5);
  }
}
