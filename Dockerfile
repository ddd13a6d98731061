# The server without an embedded PostgreSQL: give it one with DATABASE_URL.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json tsconfig.base.json ./
COPY sdk/package.json sdk/tsconfig.build.json sdk/
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY server server
COPY sdk/src sdk/src
COPY dashboard dashboard
COPY scripts/build-dashboard.mjs scripts/build-server.mjs scripts/
RUN npx tsc -b sdk/tsconfig.build.json && node scripts/build-server.mjs && node scripts/build-dashboard.mjs

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
COPY sdk/package.json sdk/
RUN npm ci --omit=dev --omit=optional --ignore-scripts --no-audit --no-fund

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=7070
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY --from=build /app/sdk/dist sdk/dist
COPY package.json ./
COPY sdk/package.json sdk/
COPY bin bin
COPY migrations migrations
USER node
EXPOSE 7070
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/health').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/bundle/main.js"]
