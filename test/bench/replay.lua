-- wrk: replays the targets of a file in turn, with one method and a body of a given size.
-- wrk ... -- METHOD FILE SIZE. The last line printed is one JSON object.
local targets, position, body = {}, 0, nil
local threads = 0

function setup(thread)
  thread:set("first", threads * 7919)
  threads = threads + 1
end

function init(args)
  for line in io.lines(args[2]) do targets[#targets + 1] = line end
  if tonumber(args[3]) > 0 then body = string.rep("b", tonumber(args[3])) end
  wrk.method = args[1]
  position = first % #targets
end

function request()
  position = position % #targets + 1
  return wrk.format(nil, targets[position], nil, body)
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format('{"requests":%d,"seconds":%.3f,"bytes":%d,"p50":%.3f,"p99":%.3f,"errors":%d}\n',
    summary.requests, summary.duration / 1e6, summary.bytes, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status + errors.connect + errors.read + errors.write + errors.timeout))
end
