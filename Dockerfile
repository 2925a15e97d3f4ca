# One image for the API, the host, the control process and the set-up; docker-compose.yml says which one a container runs.
FROM node:24.21.0-bookworm-slim AS build
WORKDIR /app
COPY . .
# optional packages hold the compiler's binaries here, and nothing that runs later
RUN npm ci --no-audit --no-fund && npm run build && npm prune --omit=dev --omit=optional --no-audit --no-fund

FROM node:24.21.0-bookworm-slim
ENV NODE_ENV=production NODE_OPTIONS=--enable-source-maps
WORKDIR /app
# Temporal's native client checks certificates against the system's
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
COPY --from=build /app /app
# a fresh volume takes the owner of the folder that it is mounted on
RUN for folder in /run/bulkhead/handout/api /run/bulkhead/handout/host /run/bulkhead/handout/control \
      /run/bulkhead/handout/temporal /run/bulkhead/handout/postgres /run/bulkhead/own \
      /var/lib/bulkhead/keys /var/lib/bulkhead/tokens /var/lib/bulkhead/host; \
    do mkdir -p "$folder"; done \
  && chown -R node:node /run/bulkhead /var/lib/bulkhead && chmod -R u=rwX,go= /run/bulkhead/handout /var/lib/bulkhead
USER node
CMD ["node", "apps/api/dist/main.js"]
