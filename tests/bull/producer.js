// A back end that adds jobs to BullMQ, as ../api/test_bull_intake.py says on standard input ({id: data}), and
// says a line of JSON of each thing that it hears of them. Ends when all of them ended.
import { Queue, QueueEvents } from "bullmq";

const connection = { host: "127.0.0.1", port: Number(process.env.REDIS_PORT) };
const queue = new Queue("listings", { connection });
const events = new QueueEvents("listings", { connection });
await events.waitUntilReady();

const data = JSON.parse(await new Response(process.stdin).text());
const open = new Set(Object.keys(data));

const say = (jobId, what) => console.log(JSON.stringify({ id: jobId, ...what }));
const ended = new Promise((resolve) => {
  const end = (jobId, what) => {
    say(jobId, what);
    open.delete(jobId);
    if (open.size === 0) resolve();
  };
  events.on("progress", ({ jobId, data }) => say(jobId, { progress: data }));
  events.on("completed", ({ jobId, returnvalue }) => end(jobId, { completed: returnvalue }));
  events.on("failed", ({ jobId, failedReason }) => end(jobId, { failed: JSON.parse(failedReason) }));
});

for (const [jobId, each] of Object.entries(data)) {
  await queue.add("post", each, { jobId, attempts: 3, backoff: 100 });
}
await ended;
await events.close();
await queue.close();
