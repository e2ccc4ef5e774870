-- For wrk: sends the requests of a file, one after the other, and looks at each answer.
-- A line: METHOD TAB PATH TAB name=value of a header TAB BODY TAB what the answer must contain. {n} is another text each time.

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

function init(arguments)
  run = arguments[2]
  requests, wanted, sent, got, wrong, sample = {}, {}, 0, 0, 0, ""
  for line in io.lines(arguments[1]) do
    local method, path, header, body, expected = line:match("^(.-)\t(.-)\t(.-)\t(.-)\t(.*)$")
    local headers = { ["Content-Type"] = "application/json", ["User-Agent"] = "osmo-cli/6.2" }
    local name, value = header:match("^(.-)=(.*)$")
    if name then headers[name] = value end
    local changes = path:find("{n}", 1, true)
    local text = not changes and wrk.format(method, path, headers, body ~= "" and body or nil)
    table.insert(requests, text or { method, path, headers, body })
    wanted[expected] = true
  end
  expected = next(wanted)
  at = math.floor(#requests / 8 * number)
end

function request()
  sent = sent + 1
  local one = requests[(at + sent) % #requests + 1]
  if type(one) == "string" then return one end
  local path = one[2]:gsub("{n}", string.format("%s-%d-%d", run, number, sent))
  return wrk.format(one[1], path, one[3], one[4])
end

function response(status, headers, body)
  got = got + 1
  if status ~= 200 or not body:find(expected, 1, true) then
    wrong = wrong + 1
    sample = status .. " " .. body:sub(1, 200)
  end
end

function done(summary, latency, all)
  local count, bad, seen = 0, 0, ""
  for _, thread in ipairs(threads) do
    count, bad = count + thread:get("got"), bad + thread:get("wrong")
    if thread:get("sample") ~= "" then seen = thread:get("sample") end
  end
  local broken = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("\nRESULT\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%s\n", count, summary.duration, latency:percentile(50),
    latency:percentile(95), latency:percentile(99), bad, broken, (seen:gsub("%s+", " "))))
end
