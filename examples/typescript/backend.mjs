// A tiny IM backend on chatshard: node examples/typescript/backend.mjs
//
// It sends messages, shows a list with unread badges, syncs a device, and follows pushes over a
// restart of the server. Needs the server: CHATSHARD_BIN, or `chatshard` on the path. With
// CHATSHARD_ADDR it uses a server that runs, and restarts none.

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ChatType, Client } from "chatshard";

/** Messages stay in the backend's own store; chatshard numbers them. */
const messages = new Map();

class Backend {
  #chats;

  constructor(chats) {
    this.#chats = chats;
  }

  /** Opens the chat of two users. Asking again finds the same chat. */
  async open(one, other) {
    const type = ChatType.single;
    const { id } = await this.#chats.create({ type, creatorId: one, userIds: [one, other] });
    return id;
  }

  /** Sends a message. Its id is the idempotency key, so a retry gets the same sequence. */
  async send(messageId, chatId, senderId, text) {
    const message = { chatId, allocate: 1, senderId, idempotencyKey: messageId };
    const { lastSequence, lastTime } = await this.#chats.advance(message);
    messages.set(`${chatId}/${lastSequence}`, { senderId, text, lastTime });
    return lastSequence;
  }

  /** The first screen of the app: chats with badges. */
  async screen(userId) {
    const { items } = await this.#chats.conversations({ userId, limit: 20 });
    return items.map((item) => ({
      chat: item.id,
      unread: item.unread,
      newest: messages.get(`${item.id}/${item.lastSequence}`)?.text ?? "",
    }));
  }

  /** The user opens a chat and reads it to its end. */
  async read(userId, chatId) {
    const { items } = await this.#chats.detail({ ids: [chatId], userId });
    return this.#chats.markRead({ userId, chatId, seq: items[0].lastSequence });
  }
}

/** A device with a copy of its user's list, which it keeps up to date. */
class Device {
  #chats;
  #userId;
  #since = null;
  rows = new Map();

  constructor(chats, userId) {
    this.#chats = chats;
    this.#userId = userId;
  }

  async sync() {
    let changes = 0;
    for await (const page of this.#chats.syncPages({ userId: this.#userId, since: this.#since })) {
      if (page.reset) this.rows.clear();
      for (const item of page.items) {
        if (item.op === "upsert") this.rows.set(item.id, item);
        else this.rows.delete(item.id);
        changes++;
      }
      this.#since = { log: page.log, version: page.version };
    }
    return changes;
  }
}

/** Pushes each message, also over restarts: it stores the offset of what it has handled. */
class PushWorker {
  #watch;
  #stored; // belongs into a database

  constructor(chats) {
    this.#watch = chats.watch({ from: this.#stored });
  }

  /** Resolves when no later message can be missed. */
  ready() {
    return this.#watch.ready();
  }

  /** Pushes until `count` messages are pushed. Returns their names. */
  async run(count) {
    // An event may come twice after a lost connection, so messages count by their names.
    const pushed = new Set();
    for await (const event of this.#watch) {
      if (event.op === "advance") pushed.add(`${event.chatId}/${event.lastSequence}`);
      this.#stored = event.offset;
      if (pushed.size === count) break;
    }
    return [...pushed];
  }
}

/** A server that can be restarted on the same port and data. */
class Server {
  #directory = mkdtempSync(join(tmpdir(), "chatshard-example-"));
  #port = 0;
  #child;

  get address() {
    return `127.0.0.1:${this.#port}`;
  }

  async start() {
    this.#port ||= await freePort();
    const doors = ["--listen", this.address, "--http", "off", "--admin", "off", "--init"];
    const args = ["serve", "--data-dir", this.#directory, ...doors];
    const { CHATSHARD_BIN: program = "chatshard", ...env } = process.env;
    this.#child = spawn(program, args, { stdio: ["ignore", "ignore", "ignore"], env });
    this.#child.once("error", (error) => console.error(`${program}: ${error.message}`));
    process.once("exit", () => this.#child.kill("SIGKILL"));
  }

  async stop(signal = "SIGTERM") {
    const gone = new Promise((resolve) => this.#child.once("exit", resolve));
    this.#child.kill(signal);
    await gone;
  }

  async remove() {
    await this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

async function main() {
  const server = process.env.CHATSHARD_ADDR ? undefined : new Server();
  await server?.start();
  const chats = new Client({ addresses: server?.address ?? process.env.CHATSHARD_ADDR });
  // The server may still start; a read is repeated until it replies.
  await chats.ping({ timeoutMs: 30_000 });
  const backend = new Backend(chats);
  const device = new Device(chats, "bob");

  const chat = await backend.open("alice", "bob");
  await device.sync();
  const worker = new PushWorker(chats);
  await worker.ready();
  const pushing = worker.run(3);
  const run = Date.now();
  await backend.send(`m1-${run}`, chat, "alice", "Hello Bob");
  await backend.send(`m2-${run}`, chat, "alice", "Are you there?");
  console.log("bob's screen:", await backend.screen("bob"));
  console.log("bob reads:", await backend.read("bob", chat));

  // A crash of the server: the call below waits for it, and its key keeps it single.
  await server?.stop("SIGKILL");
  const sending = backend.send(`m3-${run}`, chat, "bob", "I am");
  await sleep(100);
  await server?.start();
  await sending;
  const pushed = await pushing;
  console.log("pushed:", pushed.map((name) => messages.get(name).text));
  console.log("changes on bob's device:", await device.sync());
  console.log("alice's screen:", await backend.screen("alice"));
  await chats.close();
  await server?.remove();
}

await main();
