-- KEYS[1]: participants:{session}, a JSON array of ids that the application changes too.
-- ARGV: seconds to live, how many have left, those who have left, those who are present in join order.
local ttl, absent_count = ARGV[1], tonumber(ARGV[2])
local skip, ids = {}, {}
for at = 3, absent_count + 2 do
  skip[ARGV[at]] = true
end
local function add(id)
  if type(id) == 'string' and not skip[id] then
    skip[id] = true
    ids[#ids + 1] = id
  end
end
-- A value of another type, or one that is no JSON, counts as empty.
local stored = redis.pcall('GET', KEYS[1])
local is_json, list = pcall(cjson.decode, stored)
if is_json and type(list) == 'table' then
  for _, id in ipairs(list) do
    add(id)
  end
end
for at = 3, absent_count + 2 do
  skip[ARGV[at]] = nil
end
for at = absent_count + 3, #ARGV do
  add(ARGV[at])
end
-- cjson writes an empty table as an object.
if #ids == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], cjson.encode(ids), 'EX', ttl)
end
