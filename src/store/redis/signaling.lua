-- KEYS[1]: signaling:{session}, the last message of a session. ARGV: milliseconds to live, a message.
-- After an outage each node brings the last one that it knows: the newest stays.
local function stamp(text)
  local is_json, message = pcall(cjson.decode, text)
  local stamp = is_json and type(message) == 'table' and message.timestamp
  return type(stamp) == 'number' and stamp or 0
end
local later = stamp(redis.pcall('GET', KEYS[1])) - stamp(ARGV[2])
-- No outage is that long: then it is a clock that was wrong.
if later <= 0 or later > 3600000 then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[1])
end
