-- For wrk: so many requests at most, each answered by the body in a file, or it counts as wrong. wrk itself ends when its time is over.
--
--   wrk -t 1 -c CONNECTIONS -d SECONDS -s visits.lua URL -- REQUESTS FILE

local threads = {}

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  left, answers, wrong = tonumber(arguments[1]), 0, 0
  local file = assert(io.open(arguments[2], "rb"))
  right = file:read("*a")
  file:close()
end

function response(status, headers, body)
  answers = answers + 1
  if status ~= 200 or body ~= right then
    wrong = wrong + 1
  end
  left = left - 1
  if left == 0 then
    wrk.thread:stop()
  end
end

-- What failed comes first, so that whoever reads it finds it at one place.
function done(summary, latency, requests)
  local answers, wrong = 0, 0
  for _, thread in ipairs(threads) do
    answers, wrong = answers + thread:get("answers"), wrong + thread:get("wrong")
  end
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("visits: %d %d %d %d %d %d %.1f %.1f", wrong + failed, answers, errors.connect, errors.read, errors.write,
    errors.timeout, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
