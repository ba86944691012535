# syntax=docker/dockerfile:1

# The Node.js of the images is the one the npm scripts run on; test/docs.spec.ts compares them.

FROM node:24.21-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The optional packages are Node.js itself and the embedded PostgreSQL: neither is wanted in an image.
RUN npm ci --omit=optional --ignore-scripts --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY scripts ./scripts
COPY migrations ./migrations
COPY src ./src
# dist is a link to the folder of the newest build.
RUN node scripts/build.mjs && mv "$(readlink -f dist)" compiled

FROM node:24.21-bookworm-slim AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM node:24.21-bookworm-slim
# As in npm start: what keeps the memory of a busy process small, and the hashing of passwords fast; see docs/performance.md.
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8000 MALLOC_ARENA_MAX=2 GLIBC_TUNABLES=glibc.malloc.hugetlb=1
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=build /app/compiled ./dist
COPY package.json LICENSE ./
USER node
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health/ready').then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "--max-semi-space-size=32", "--no-parallel-scavenge", "dist/src/main.js"]
