-- Tells the bench what wrk has counted: a line of sums, then each latency in microseconds with its count.
function done(summary, latency)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.timeout + errors.status
  io.write("counted ", summary.requests, " ", summary.duration, " ", failed, "\n")
  for place = 1, #latency do
    local value, count = latency(place)
    io.write("latency ", value, " ", tonumber(count), "\n")
  end
end
