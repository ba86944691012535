/* Floor A: bare Fastify that answers a constant. */
import Fastify from 'fastify';
import { ready } from './probe.mjs';

const fastify = Fastify();
fastify.get('/', () => ({ status: 'ok' }));
ready(await fastify.listen({ port: 0, host: '127.0.0.1' }));
