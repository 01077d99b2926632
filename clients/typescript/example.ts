// A listing is written, photographed, posted and followed: `node example.ts poshmark mercari`, with EVERYSTALL_URL
// and EVERYSTALL_TOKEN. Says a line of JSON of each step.
import { connect, must, Refused, type Schemas } from "./index.ts";

const everystall = connect(process.env.EVERYSTALL_URL!, process.env.EVERYSTALL_TOKEN!);
const say = (what: object) => console.log(JSON.stringify(what));

async function write(): Promise<string> {
  const listing = await must(
    everystall.POST("/api/listings", {
      body: {
        title: "Linen shirt, hardly worn",
        description: "A light linen shirt. Worn twice, washed cold, no flaws that I can see.",
        brand: "Levi's",
        category: "men.shirts.casual",
        size: "M",
        condition: "good",
        colors: ["blue"],
        price: { amount: 2500, currency: "USD" },
        package: { weightOz: 12, lengthIn: 12, widthIn: 9, heightIn: 2 },
        shipsFromZip: "94110",
        shippingPayer: "buyer",
      },
    }),
  );
  return listing.listingId;
}

async function photograph(listingId: string, photo: Blob): Promise<void> {
  const body = new FormData();
  body.append("photos", photo, "front.png");
  await must(
    everystall.POST("/api/listings/{listingId}/photos", {
      params: { path: { listingId } },
      body: body as never, // the schema has a file as a string
      bodySerializer: () => body,
    }),
  );
}

async function post(listingId: string, marketplaces: string[]): Promise<string> {
  const posted = await must(
    everystall.POST("/api/listings/post", {
      // sent again, it finds the same job
      params: { header: { "idempotency-key": `post-${listingId}` } },
      body: { listingId, marketplaces },
    }),
  );
  return posted.jobId;
}

/** Until it is finished, or nobody is there who would go on with it. A webhook spares the asking. */
async function follow(jobId: string): Promise<Schemas["JobOut"]> {
  for (;;) {
    const job = await must(everystall.GET("/api/jobs/{jobId}", { params: { path: { jobId } } }));
    if (job.status !== "running" || job.waitsFor !== null) return job;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

try {
  const listingId = await write();
  await photograph(listingId, new Blob([await readAll()], { type: "image/png" }));
  const jobId = await post(listingId, process.argv.slice(2));
  say({ listingId, jobId, again: await post(listingId, process.argv.slice(2)) });
  const job = await follow(jobId);
  for (const { marketplace, state, url } of job.automationResults) say({ marketplace, state, url });
} catch (error) {
  if (!(error instanceof Refused)) throw error;
  say({ status: error.status, ...error.refusal }); // such as session_missing, with `missing`
  process.exitCode = 1;
}

/** A photo, from standard input. */
async function readAll(): Promise<ArrayBuffer> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(part as Buffer);
  return new Uint8Array(Buffer.concat(parts)).buffer;
}
