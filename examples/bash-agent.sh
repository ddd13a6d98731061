#!/usr/bin/env bash
# An agent in bash: examples/bash-agent.sh ADDRESS [NAME]. Needs curl, and node to take JSON apart.
url=${PERDURE_URL:-http://127.0.0.1:7070} address=$1 name=${2:-bash-1}
api() { curl -fsS -X "$1" "$url$2" -H 'content-type: application/json' ${PERDURE_API_KEY:+-H "x-api-key: $PERDURE_API_KEY"} -d "$3"; }
pick() { node -pe "try { ($1)(JSON.parse(require('fs').readFileSync(0, 'utf8'))) ?? '' } catch { '' }"; }
work() { echo "$1" >> "${LEDGER:-/dev/null}"; echo "{\"step\":\"$1\"}"; } # yours: prints the step's result as JSON
alive() { while sleep 10 && kill -0 $$ 2> /dev/null; do api POST "/v1/intents/$id/heartbeat" "{\"attempt\":$attempt}"; done > /dev/null; }
while true; do
  claim=$(api POST "/v1/agents/$address/claim" "{\"consumer\":\"$name\",\"wait_seconds\":20}") || { sleep 1; continue; }
  id=$(pick 'a => a.deliveries[0].intent_id' <<< "$claim")
  attempt=$(pick 'a => a.deliveries[0].attempt' <<< "$claim")
  step=$(pick 'a => a.deliveries[0].next_step.key' <<< "$claim")
  alive & # a step may take longer than the lease
  while [ -n "$step" ]; do
    api PUT "/v1/intents/$id/steps/$step" "{\"status\":\"running\",\"attempt\":$attempt}" > /dev/null || break
    result=$(work "$step")
    answer=$(api PUT "/v1/intents/$id/steps/$step" "{\"status\":\"done\",\"attempt\":$attempt,\"result\":$result}") || break
    step=$(pick 'a => a.next_step.key' <<< "$answer")
  done
  kill %% 2> /dev/null
done
