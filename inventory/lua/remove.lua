-- remove.lua removes the counters of a SKU that was retired: those of its last epoch
-- or an older one, whose deductions are void.
--
-- KEYS[1]  the SKU's stock hash
-- ARGV[1]  store
-- ARGV[2]  epoch  the last one
--
-- Returns {'removed'}, also if there was nothing; {'accepted', n} if accepted orders
-- are beside n deductions, and nothing was removed; {'kept'} if the hash is of a newer
-- epoch or another store.
--
-- Safe to repeat. A late copy finds nothing, or the hash of a late load of an epoch
-- that is over.

local store = ARGV[1]
local epoch = whole(ARGV[2], 1, BOUND)
if not store or store == '' then return refuse('store is empty') end
if not epoch then return refuse('epoch is not a whole number from 1 to 2^52') end

-- Asking for the type first, as HMGET on a key of another type ends the script.
local kind = redis.call('TYPE', KEYS[1])
if type(kind) == 'table' then kind = kind.ok end
if kind == 'hash' then
  local stock, why = read_stock(KEYS[1], store)
  if why == 'foreign' or stock and stock.epoch > epoch then return {'kept'} end
  if stock and value_of(KEYS[1], 'accepting') then
    local cursor, beside, seen = '0', 0, {}
    repeat
      local page = redis.call('HSCAN', KEYS[1], cursor, 'MATCH', 'a:*', 'COUNT', '1000')
      cursor = page[1]
      for i = 1, #page[2], 2 do
        if not seen[page[2][i]] then
          seen[page[2][i]] = true
          beside = beside + 1
        end
      end
    until cursor == '0'
    if beside > 0 then return {'accepted', beside} end
  end
end
-- Also if there is nothing: a replica, which may be behind, can't say so.
redis.call('DEL', KEYS[1])
return {'removed'}
