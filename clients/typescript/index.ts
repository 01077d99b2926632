// Everystall's API, typed by its own description (schema.d.ts, which `make client` writes). For servers only: who
// has the token may do all that its seller may.
import createClient, { type Client } from "openapi-fetch";
import { Webhook } from "standardwebhooks";
import type { components, paths } from "./schema";

export type Everystall = Client<paths>;
export type Schemas = components["schemas"];
/** `error` is a code, `message` and `action` are for people; docs/api.md says what else a refusal may have. */
export type Refusal = Schemas["Refusal"];

/** `url`: where the web is, with the path below which it stands, if it has one. */
export function connect(url: string, token: string): Everystall {
  return createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${token}` } });
}

/** An answer that was no 2xx. */
export class Refused extends Error {
  readonly status: number;
  readonly refusal: Refusal;

  constructor(status: number, refusal: Refusal) {
    super(`${refusal.error}: ${refusal.message}`);
    this.status = status;
    this.refusal = refusal;
  }
}

/** `await must(everystall.GET(…))`: what was answered; else throws Refused. */
export async function must<T>(asked: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await asked;
  if (response.ok) return data as T;
  const known = error !== null && typeof error === "object" && "error" in error;
  const unknown = { error: "unknown", message: `The answer was ${response.status}.`, action: "Try again later." };
  throw new Refused(response.status, known ? (error as Refusal) : unknown);
}

/** What a webhook tells; docs/webhooks.md has the types, and the data of each. */
export interface Message {
  type: string;
  timestamp: string;
  data: Record<string, unknown>;
}

/** A webhook's message; throws if it is not signed by this secret, or old. Keep `webhook-id`, and leave what you
 * have seen: a message may come twice. `body` is what came, before anything parsed it. */
export function verify(secret: string, body: string, headers: Headers): Message {
  return new Webhook(secret).verify(body, Object.fromEntries(headers)) as Message;
}
