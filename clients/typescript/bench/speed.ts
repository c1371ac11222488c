// Calls per second through the client, beside a loop without one on the same kind of socket:
// node build/bench/speed.js [SECONDS]. The loop sends frames that are made by hand, and only skips
// replies by their lengths.

import { connect as dial, type Socket } from "node:net";

import { type Client, connect } from "../src/index.js";
import { commands } from "../src/generated.js";
import { encode, writeFrame } from "../src/connection.js";
import type { Command } from "../src/command.js";
import { Writer } from "../src/msgpack.js";
import { Node } from "../tests/help.js";

const SECONDS = Number(process.argv[2] ?? 1.5);
const ROUNDS = 3;

interface Load {
  name: string;
  frame: (id: number) => Buffer;
  call: (client: Client) => Promise<unknown>;
}

function load<A>(name: string, command: Command<A, unknown>, a: A, call: Load["call"]): Load {
  const body = encode(command.code, (w) => command.write(w, a, undefined));
  const w = new Writer();
  const frame = (id: number) => {
    writeFrame(w, id, body);
    return w.take();
  };
  return { name, frame, call };
}

/** Keeps `depth` frames on their way for so long, and counts replies. */
async function raw(socket: Socket, frame: (id: number) => Buffer, depth: number, ms: number) {
  const frames = Array.from({ length: depth }, (_, i) => frame(1_000_000 + i));
  const end = performance.now() + ms;
  let replies = 0;
  let sent = 0;
  let head = 0;
  let held = 0;
  let rest = 0;
  const send = (count: number) => {
    // Frames go round, so an id comes again only when its reply has come, if replies are in order.
    const batch = Array.from({ length: count }, (_, i) => frames[(sent + i) % depth]!);
    sent += count;
    socket.write(count === 1 ? batch[0]! : Buffer.concat(batch));
  };
  await new Promise<void>((resolve) => {
    const onData = (bytes: Buffer) => {
      const before = replies;
      for (let at = 0; at < bytes.length; ) {
        if (rest > 0) {
          const step = Math.min(rest, bytes.length - at);
          at += step;
          rest -= step;
          if (rest === 0) replies++;
        } else if (held === 0 && bytes.length - at >= 4) {
          rest = bytes.readUInt32BE(at);
          at += 4;
        } else {
          head = head * 256 + bytes[at++]!;
          if (++held < 4) continue;
          rest = head;
          held = head = 0;
        }
      }
      if (performance.now() < end) {
        if (replies > before) send(replies - before);
      } else if (replies === sent) {
        socket.off("data", onData);
        resolve();
      }
    };
    socket.on("data", onData);
    send(depth);
  });
  return replies;
}

async function client(of: Client, call: Load["call"], depth: number, ms: number): Promise<number> {
  const end = performance.now() + ms;
  let replies = 0;
  const worker = async () => {
    while (performance.now() < end) {
      await call(of);
      replies++;
    }
  };
  await Promise.all(Array.from({ length: depth }, worker));
  return replies;
}

const node = await Node.start("--shards", "1", "--log", "off");
// Without keys, so that both send the same bytes. With them the server has more to do.
const options = { addresses: node.address, connections: 1 };
const chatshard = await connect({ ...options, keys: false });
const ids = Array.from({ length: 50 }, (_, i) => `bench-chat-${i}`);
for (const id of ids) {
  await chatshard.create({ id, type: 2, creatorId: "bench", userIds: ["bench"] });
}
const id = ids[0]!;
const loads = [
  load("list50", commands.list, { userId: "bench", limit: 50 }, (c) =>
    c.list({ userId: "bench", limit: 50 }),
  ),
  load("detail1", commands.detail, { ids: [id] }, (c) => c.detail({ ids: [id] })),
  load("advance", commands.advance, { chatId: id, allocate: 1 }, (c) =>
    c.advance({ chatId: id, allocate: 1 }),
  ),
];
const socket = dial(node.port, "127.0.0.1").setNoDelay(true);
const hello = load("hello", commands.hello, { client: "bench" }, async () => undefined);
await raw(socket, hello.frame, 1, 1);

/** Calls, and the processor time of this process for them in µs. */
class Sum {
  calls = 0;
  cpu = 0;

  async add(run: () => Promise<number>): Promise<void> {
    const before = process.cpuUsage();
    this.calls += await run();
    const { user, system } = process.cpuUsage(before);
    this.cpu += user + system;
  }

  get perSecond(): number {
    return Math.round(this.calls / SECONDS);
  }

  /** Processor time of a call in µs. */
  get each(): string {
    return (this.cpu / this.calls).toFixed(1);
  }
}

const columns = ["load", "depth", "client, calls/s", "loop, calls/s", "ratio"];
columns.push("client, CPU µs a call", "loop, CPU µs a call");
console.log(`| ${columns.join(" | ")} |\n|${columns.map(() => "---|").join("")}`);
const ms = (SECONDS * 1000) / ROUNDS;
for (const { name, frame, call } of loads) {
  for (const depth of [1, 64]) {
    await client(chatshard, call, depth, 200);
    const [ours, plain] = [new Sum(), new Sum()];
    for (let i = 0; i < ROUNDS; i++) {
      await plain.add(() => raw(socket, frame, depth, ms));
      await ours.add(() => client(chatshard, call, depth, ms));
    }
    const ratio = (ours.calls / plain.calls).toFixed(2);
    const figures = [ours.perSecond, plain.perSecond, ratio, ours.each, plain.each];
    console.log(`| ${name} | ${depth} | ${figures.join(" | ")} |`);
  }
}
socket.destroy();
await chatshard.close();
await node.stop();
