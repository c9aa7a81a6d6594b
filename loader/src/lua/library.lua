-- The functions of `string` and `table` that Lua's own library would run for as long as it takes, made such that
-- the deadline ends them. Runs once in each Lua state, before `prelude.lua`; gives both tables.
local rust = ...

local string, table = string, table
local type, select, rawequal = type, select, rawequal
local next, maxinteger, tointeger = next, math.maxinteger, math.tointeger
local concat = table.concat

-- Items that one call of a C function works on, and most that a table has room for. Its length is any border,
-- which need not be near an item.
local CHUNK <const>, ITEMS_MAX <const> = 10000, rust.items_max

local function copy(library)
  local made = {}
  for name, value in next, library do made[name] = value end
  return made
end

local guarded_string, guarded_table = copy(string), copy(table)
guarded_string.dump = nil

function guarded_string.rep(s, n, sep)
  local count = type(s) == "string" and (sep == nil or sep == "") and tointeger(n)
  if not count or count <= CHUNK then return string.rep(s, n, sep) end
  if s == "" then return "" end
  -- Lua copies `s` as often as that, which for a short one takes far longer than copying blocks of it.
  local block <const> = #s < CHUNK and CHUNK or 1
  local whole = string.rep(string.rep(s, block), count // block)
  return count % block == 0 and whole or whole .. string.rep(s, count % block)
end

-- Tables ---------------------------------------------------------------------------------------------------

local function check_length(list, name)
  if type(list) == "table" and #list > ITEMS_MAX then
    rust.raise("bad argument #1 to '" .. name .. "' (its length is beyond what a table has room for)")
  end
end

function guarded_table.insert(list, ...)
  if select("#", ...) == 2 then check_length(list, "insert") end
  return table.insert(list, ...)
end

function guarded_table.remove(list, ...)
  if select("#", ...) > 0 then check_length(list, "remove") end
  return table.remove(list, ...)
end

function guarded_table.sort(list, less)
  if type(list) == "table" and (less == nil or type(less) == "function") and #list > CHUNK then
    -- Compared by Lua, where the hook runs.
    local by = less
    if by then
      less = function(a, b) return by(a, b) end
    else
      less = function(a, b) return a < b end
    end
  end
  return table.sort(list, less)
end

-- In parts, between which the hook runs: what says its own length may claim any, and answer for each index.
function guarded_table.concat(list, sep, i, j)
  local first, last = tointeger(i == nil and 1 or i), j
  if type(list) == "table" and last == nil then last = #list end
  last = tointeger(last)
  if type(list) ~= "table" or not first or not last or last < first or last - first < CHUNK and last - first >= 0 then
    return concat(list, sep, i, j)
  end
  local parts, count = {}, 0
  local start = first
  while true do
    local stop = last - start < CHUNK and last - start >= 0 and last or start + CHUNK - 1
    count = count + 1
    parts[count] = concat(list, sep, start, stop)
    if stop == last then break end
    start = stop + 1
  end
  return count <= CHUNK and concat(parts, sep) or guarded_table.concat(parts, sep)
end

-- Whether a move is of many items, and one that the original would not refuse.
local function is_long(first, last, to)
  if not first or not last or not to then return false end
  if last < first or first <= 0 and last >= maxinteger + first then return false end
  local count = last - first + 1
  return count > CHUNK and to <= maxinteger - count + 1
end

function guarded_table.move(from, f, e, t, into)
  local first, last, to = tointeger(f), tointeger(e), tointeger(t)
  if not is_long(first, last, to) then return table.move(from, f, e, t, into) end
  local target = into
  if target == nil then target = from end
  if to > last or to <= first or not rawequal(target, from) then
    for start = first, last, CHUNK do
      local stop = last - start < CHUNK and last or start + CHUNK - 1
      table.move(from, start, stop, to + (start - first), target)
    end
  else
    for stop = last, first, -CHUNK do
      local start = stop - first < CHUNK and first or stop - CHUNK + 1
      table.move(from, start, stop, to + (start - first), target)
    end
  end
  return target
end

for name, search in next, rust.searches(rust, guarded_table.concat) do guarded_string[name] = search end

return guarded_string, guarded_table
