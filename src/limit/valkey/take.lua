-- Grants units of rates. The state of a rate is the time at which its burst is full again, as in gcra.rs.
--
-- KEYS: since when this server has its state; then one key for each rate. ARGV, for each rate: least, waiting, more,
-- the increment and the tolerance. Answers the time of now, and for each rate the units and its state.
--
-- A number of Lua is exact below 2^53, and nanoseconds since 1970 are not. So each time is two numbers: seconds, and
-- nanoseconds below 10^9. The program sends no more than 2^43 units.
local BILLION, SPLIT = 1000000000, 1048576

-- One time minus another one.
local function minus(s, n, of_s, of_n)
  s, n = s - of_s, n - of_n
  if n < 0 then return s - 1, n + BILLION end
  return s, n
end

local function plus(s, n, more_s, more_n)
  s, n = s + more_s, n + more_n
  if n >= BILLION then return s + 1, n - BILLION end
  return s, n
end

local function is_later(s, n, than_s, than_n)
  return s > than_s or s == than_s and n > than_n
end

-- A time, so many times. No product is above 2^53, and fmod is exact.
local function times(units, s, n)
  local high = math.floor(units / SPLIT)
  local of_high = n * high
  local rest = math.fmod(of_high, BILLION)
  local of_low = rest * SPLIT + n * (units - high * SPLIT)
  local nanos = math.fmod(of_low, BILLION)
  return units * s + (of_high - rest) / BILLION * SPLIT + (of_low - nanos) / BILLION, nanos
end

-- How often one time fits into another one, but at most `most`. The quotient is wrong by less than 1.
local function fits(s, n, into_s, into_n, most)
  local units = math.min(most, math.floor((into_s * BILLION + into_n) / (s * BILLION + n)))
  local function is_too_many(count)
    local all_s, all_n = times(count, s, n)
    return is_later(all_s, all_n, into_s, into_n)
  end
  while units > 0 and is_too_many(units) do units = units - 1 end
  while units < most and not is_too_many(units + 1) do units = units + 1 end
  return units
end

local time = redis.call('TIME')
local now_s, now_n = tonumber(time[1]), time[2] * 1000

-- Without this key, the server is new or has lost its state: then each rate that it does not know begins without a burst.
local since = redis.call('GET', KEYS[1])
if not since then
  since = string.format('%.0f %.0f', now_s, now_n)
  redis.call('SET', KEYS[1], since)
end
local function read(state)
  local s, n = string.match(state, '^(%d+) (%d+)$')
  return tonumber(s), tonumber(n)
end
local since_s, since_n = read(since)

local answer = {now_s, now_n}
for rate = 2, #KEYS do
  local at = (rate - 2) * 7
  local least, waiting, more = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local increment_s, increment_n = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local tolerance_s, tolerance_n = tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])

  local full_s, full_n
  local known = redis.call('GET', KEYS[rate])
  if known then
    full_s, full_n = read(known)
  else
    full_s, full_n = plus(since_s, since_n, tolerance_s, tolerance_n)
  end
  if is_later(now_s, now_n, full_s, full_n) then full_s, full_n = now_s, now_n end
  local rest_s, rest_n = minus(tolerance_s, tolerance_n, minus(full_s, full_n, now_s, now_n))
  local is_ahead = rest_s < 0
  if is_ahead then
    -- The clock was set back: the burst is used up, and no more. Kept, also without a grant: else each ask would find a
    -- used burst.
    full_s, full_n = plus(now_s, now_n, tolerance_s, tolerance_n)
    rest_s, rest_n = 0, 0
  end

  local most = math.max(least, waiting + 16 * more)
  local available = fits(increment_s, increment_n, rest_s, rest_n, most)
  local units = 0
  if available >= least then
    units = math.min(available, waiting)
    local rest = available - units
    units = units + math.min(more, math.max(math.floor(rest / 16), math.min(1, rest)))
  end
  if units > 0 or is_ahead and waiting + more > 0 then
    full_s, full_n = plus(full_s, full_n, times(units, increment_s, increment_n))
    local ahead_s, ahead_n = minus(full_s, full_n, now_s, now_n)
    -- A second longer than the state counts.
    local lasts = (ahead_s + 1) * 1000 + math.ceil(ahead_n / 1000000)
    redis.call('SET', KEYS[rate], string.format('%.0f %.0f', full_s, full_n), 'PX', string.format('%.0f', lasts))
  end
  answer[#answer + 1] = units
  answer[#answer + 1] = full_s
  answer[#answer + 1] = full_n
end
-- After the first SET, with which a server without free memory refuses the script. 90 days.
redis.call('EXPIRE', KEYS[1], 7776000)
return answer
