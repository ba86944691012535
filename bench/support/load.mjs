/*
 * The load generator, in a process of its own: as many keep-alive connections as asked for, each with one request at
 * a time, for a number of seconds.
 */
import { createHmac, randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import autocannon from 'autocannon';
import { answer, ready } from './probe.mjs';

const SAMPLE_MS = 50;
const PACE_MS = 5;
const ADDRESSES = 250 * 250 * 250;
let lastAddress = 0;

answer('load', runLoad);
answer('pace', runPaced);
ready();

/**
 * Sends requests as fast as they are answered; with `apiKeys` each connection has its share of them, and takes them in turn.
 * @returns the rate of 2xx answers a second, their latencies in milliseconds, and what else there was.
 */
async function runLoad({
  url,
  method = 'GET',
  headers,
  body,
  connections,
  seconds,
  rotateAddresses = false,
  apiKeys,
}) {
  const latencies = [];
  const failures = {};
  let startedAtMs = 0;
  const call = { method, headers, body };
  if (rotateAddresses)
    call.setupRequest = (one) => ({ ...one, headers: { ...one.headers, 'x-forwarded-for': nextAddress() } });

  const finished = await new Promise((resolve, reject) => {
    const options = { url, connections, duration: seconds, sampleInt: SAMPLE_MS, requests: [call] };
    const share = Math.floor((apiKeys?.length ?? 0) / connections);
    let shared = 0;
    if (apiKeys)
      options.setupClient = (client) => {
        const keys = apiKeys.slice(shared, (shared += share));
        client.setRequests(keys.map((key) => ({ ...call, headers: { ...headers, 'x-api-key': key } })));
      };
    const run = autocannon(options, (error, result) => (error ? reject(error) : resolve(result)));
    run.on('start', () => {
      startedAtMs = performance.now();
    });
    run.on('response', (_client, status, _bytes, latencyMs) => {
      if (status >= 200 && status < 300) latencies.push(latencyMs);
      else failures[status] = (failures[status] ?? 0) + 1;
    });
  });
  if (finished.errors > 0) failures.errors = finished.errors;
  return summary(latencies, (performance.now() - startedAtMs) / 1000, failures);
}

/**
 * Sends requests at a steady rate, whether or not those before were answered; with `webhookSecret` each is another
 * signed delivery of Polar.
 * @returns what {@link runLoad} does.
 */
async function runPaced({ url, method, headers, body, webhookSecret, ratePerSecond, seconds }) {
  const next = () => (webhookSecret ? signedDelivery(webhookSecret) : { method, headers, body });
  const agent = new Agent({ keepAlive: true });
  const latencies = [];
  const failures = {};
  const startedAtMs = performance.now();
  const open = [];
  for (let elapsedMs = 0; elapsedMs < seconds * 1000; elapsedMs = performance.now() - startedAtMs) {
    while (open.length < (elapsedMs / 1000) * ratePerSecond) {
      // From the moment it was due: a request that is sent late because the machine is busy has waited too.
      const dueMs = startedAtMs + (open.length / ratePerSecond) * 1000;
      const one = next();
      const sent = send(url, { method: one.method, headers: one.headers, agent }, one.body).then(
        (status) => {
          if (status >= 200 && status < 300) latencies.push(performance.now() - dueMs);
          else failures[status] = (failures[status] ?? 0) + 1;
        },
        () => {
          failures.errors = (failures.errors ?? 0) + 1;
        },
      );
      open.push(sent);
    }
    await sleep(PACE_MS);
  }
  await Promise.all(open);
  agent.destroy();
  return summary(latencies, (performance.now() - startedAtMs) / 1000, failures);
}

/** As Polar signs (Standard Webhooks), about a customer of nobody's. */
function signedDelivery(secret) {
  const [id, seconds] = [randomUUID(), String(Math.floor(Date.now() / 1000))];
  const timestamp = new Date().toISOString();
  const customer = { id: randomUUID(), external_id: null };
  const data = { id: randomUUID(), customer, amount: 2_900, currency: 'usd', status: 'paid' };
  const body = JSON.stringify({ type: 'order.paid', timestamp, api_version: '2026-10', data });
  const key = Buffer.from(secret.slice('whsec_'.length), 'base64');
  const signature = createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64');
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': seconds,
    'webhook-signature': `v1,${signature}`,
  };
  return { method: 'POST', headers, body };
}

function send(url, options, body) {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, options, (response) => {
      response
        .resume()
        .once('end', () => resolve(response.statusCode))
        .once('error', reject);
    });
    outgoing.once('error', reject).end(body);
  });
}

function summary(latencies, seconds, failures) {
  const sorted = Float64Array.from(latencies).sort();
  const quantile = (share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
  return {
    answered: sorted.length,
    perSecond: sorted.length / seconds,
    p50Ms: quantile(0.5),
    p99Ms: quantile(0.99),
    p999Ms: quantile(0.999),
    failures,
  };
}

/** Another address for every request, as if from many clients behind the one proxy. */
function nextAddress() {
  lastAddress = (lastAddress + 1) % ADDRESSES;
  const part = (divisor) => (Math.floor(lastAddress / divisor) % 250) + 1;
  return `10.${part(62_500)}.${part(250)}.${part(1)}`;
}
