-- prelude.lua stands in front of every other script of this folder: how a
-- stock hash is read, and how numbers go in and out.
--
-- A stock hash has the counters
--
--   store      the UUID of the order store whose supply this is
--   epoch      the life of these counters; deductions of another epoch are void
--   supply     how many units may be deducted in this epoch, all in all
--   version    of the supply; a newer one replaces an older one
--   taken      units deducted in this epoch and not restored
--   seq        the sequence number of the last deduction
--   unsettled  the part of taken that is neither settled nor restored
--
-- and one field d:<attempt> for each unsettled deduction, with the value
-- seq:quantity:version:milliseconds:order, where version is the supply's at the
-- grant, and milliseconds is Redis's clock then. Counters and deductions share
-- one key so that they can only be lost together.
--
-- Every script checks all that it was given, and all that it read, before its
-- first write: Redis keeps the writes of a script that fails half-way.

-- A Lua number is a double: whole numbers are exact up to 2^53. We stay below
-- half of that, so that no sum of two counters can leave the exact range.
local BOUND = 4503599627370496

-- whole reads a whole number from low to high, in plain digits. Anything else
-- (a sign, a fraction, nan, an exponent, hex, a leading zero) is nil. Compare
-- what it returns, never the text: as strings, "9" is greater than "10".
local function whole(text, low, high)
  if type(text) ~= 'string' or #text > 17 then return nil end
  if text ~= '0' and not string.find(text, '^%-?[1-9]%d*$') then return nil end
  local n = tonumber(text)
  if n < low or n > high then return nil end
  return n
end

-- digits writes a whole number without the exponent that tostring would use.
local function digits(n)
  return string.format('%.0f', n)
end

-- refuse is the reply to arguments that no caller of ours sends.
local function refuse(what)
  return redis.error_reply('LASTUNIT ' .. what)
end

-- clock is Redis's time in milliseconds.
local function clock()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- read_stock returns the counters, or nil and why they can't be used: missing,
-- foreign (another store's), or garbage.
local function read_stock(key, store)
  local v = redis.call('HMGET', key, 'store', 'epoch', 'supply', 'version', 'taken', 'seq', 'unsettled')
  if not v[1] then
    if v[2] or v[3] or v[4] or v[5] or v[6] or v[7] then return nil, 'garbage' end
    return nil, 'missing'
  end
  if v[1] ~= store then return nil, 'foreign' end
  local stock = {
    epoch = whole(v[2], 1, BOUND),
    supply = whole(v[3], -BOUND, BOUND),
    version = whole(v[4], 1, BOUND),
    taken = whole(v[5], 0, BOUND),
    seq = whole(v[6], 0, BOUND),
    unsettled = whole(v[7], 0, BOUND),
  }
  if not (stock.epoch and stock.supply and stock.version and stock.taken and stock.seq and stock.unsettled)
    or stock.unsettled > stock.taken then
    return nil, 'garbage'
  end
  return stock
end

-- read_deduction returns the unsettled deduction of an attempt; nil if there is
-- none; nil and true if what stands there is garbage.
local function read_deduction(key, attempt)
  local value = redis.call('HGET', key, 'd:' .. attempt)
  if not value then return nil end
  local seq, quantity, version, at, order = string.match(value, '^(%d+):(%d+):(%d+):(%d+):(.+)$')
  local deduction = {
    seq = whole(seq, 1, BOUND),
    quantity = whole(quantity, 1, BOUND),
    version = whole(version, 1, BOUND),
    at = whole(at, 0, BOUND),
    order = order,
  }
  if not (deduction.seq and deduction.quantity and deduction.version and deduction.at) then
    return nil, true
  end
  return deduction
end

-- named_deductions finds those of the pairs attempt, seq from ARGV[first] on
-- that are on record under that very seq, each once. It returns the attempts
-- and their units; nil if it meets garbage.
local function named_deductions(key, first, stock)
  local attempts, units, seen = {}, 0, {}
  for i = first, #ARGV, 2 do
    local deduction, garbage = read_deduction(key, ARGV[i])
    if garbage then return nil end
    if deduction and deduction.seq == tonumber(ARGV[i + 1]) and not seen[ARGV[i]] then
      seen[ARGV[i]] = true
      attempts[#attempts + 1] = ARGV[i]
      units = units + deduction.quantity
    end
  end
  if units > stock.unsettled then return nil end
  return attempts, units
end

-- whole_seqs says whether ARGV from first on is pairs of an attempt and a seq.
local function whole_seqs(first)
  if (#ARGV - first) % 2 == 0 then return false end
  for i = first + 1, #ARGV, 2 do
    if not whole(ARGV[i], 1, BOUND) then return false end
  end
  return true
end
