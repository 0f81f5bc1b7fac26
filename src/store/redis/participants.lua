-- KEYS[1]: participants:{session}, a JSON array of ids that the application changes too.
-- ARGV: seconds to live, how many have left, those who have left, those who are present in join order.
local ttl, absent_count = ARGV[1], tonumber(ARGV[2])
local absent, present, is_present = {}, {}, {}
for at = 3, absent_count + 2 do
  absent[ARGV[at]] = true
end
for at = absent_count + 3, #ARGV do
  if not is_present[ARGV[at]] then
    is_present[ARGV[at]] = true
    present[#present + 1] = ARGV[at]
  end
end
local ids, seen, next = {}, {}, 1
-- A value of another type, or one that is no JSON, counts as empty.
local stored = redis.pcall('GET', KEYS[1])
local is_json, list = pcall(cjson.decode, stored)
if is_json and type(list) == 'table' then
  for _, id in ipairs(list) do
    if type(id) == 'string' and not seen[id] then
      seen[id] = true
      -- The application's ids keep their places; those who are present share the others, in their order.
      if not absent[id] then
        if is_present[id] then
          id = present[next]
          next = next + 1
        end
        ids[#ids + 1] = id
      end
    end
  end
end
for at = next, #present do
  ids[#ids + 1] = present[at]
end
-- cjson writes an empty table as an object.
if #ids == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], cjson.encode(ids), 'EX', ttl)
end
