-- Types as values (`en/lua/types.md`). Runs once in each Lua state, before `prelude.lua`; gives the function that
-- makes the types of a chunk of what the compiler wrote in front of it: nodes, which refer to each other by number,
-- and which of them have names. All that a user can reach is made anew for each invocation.
local rust = ...

local type, next, select, rawequal, setmetatable, tostring = type, next, select, rawequal, setmetatable, tostring
local math_type, error, concat, format = math.type, error, table.concat, string.format
local matches, refused = rust.matches, rust.refused

-- Deepest value that is validated, and longest text of a message.
local DEPTH_MAX <const>, SHOWN_MAX <const> = 180, 200

-- Nodes that chunks have in common, such as `number`, are one in an invocation, so that types can be compared and be
-- keys of tables. Each node is a table: `kind`, and what it is made of.
local SIMPLE = {}
for _, kind in next, {
  "any", "boolean", "error", "function", "integer", "never", "nil", "number", "string", "table", "thread", "unknown",
  "userdata",
} do SIMPLE[kind] = true end

-- The types of one invocation: the object of each node and the node of each object.
local function universe()
  return { objects = {}, nodes = {}, simple = {}, metatable = false }
end

local function simple(all, kind)
  local node = all.simple[kind]
  if not node then
    node = { kind = kind }
    all.simple[kind] = node
  end
  return node
end

-- What a name stands for, or a type of a library: found when it is first needed.
local function resolved(all, node)
  local seen = 0
  while node.kind == "named" or node.kind == "library" do
    seen = seen + 1
    if seen > DEPTH_MAX then return simple(all, "never") end
    if node.kind == "named" then
      node = node.target
    else
      local found = node.target
      if not found then
        local library = node.require(node.module)
        found = type(library) == "table" and all.nodes[library[node.member]]
        if not found then
          error("the library `" .. node.module .. "` returns no type `" .. node.member .. "`", 0)
        end
        node.target = found
      end
      node = found
    end
  end
  return node
end

-- Text ---------------------------------------------------------------------------------------------------------

local function shown(value)
  if type(value) == "string" then
    if #value > SHOWN_MAX then value = value:sub(1, SHOWN_MAX) .. "…" end
    return format("%q", value)
  end
  return tostring(value)
end

local function name_of(all, node)
  if node.kind == "named" then return node.name end
  if node.kind == "library" then return node.member end
  if node.kind == "literal" then return shown(node.value) end
  if node.kind == "optional" then return name_of(all, node.inner) .. "?" end
  if node.kind == "checked" then return name_of(all, node.inner) end
  if node.kind == "array" then return "{" .. name_of(all, node.elem) .. "}" end
  if node.kind == "union" or node.kind == "intersection" then
    local parts = {}
    for index, member in next, node.members do
      parts[index] = index <= 8 and name_of(all, member) or "…"
      if index > 8 then break end
    end
    return concat(parts, node.kind == "union" and " | " or " & ")
  end
  return node.kind
end

local function given(value)
  local kind = math_type(value) or type(value)
  if kind == "string" or kind == "boolean" then return kind .. " " .. shown(value) end
  return kind == "float" and "number" or kind
end

-- Validation ---------------------------------------------------------------------------------------------------

-- Each returns nothing when the value is of the type, else what is wrong with it. `state` has the depth, the way to
-- the value, and what was found of tables: one that holds itself, or is shared, is looked at once for each type.
local valid

local function at(state, step, problem)
  if problem == nil then return nil end
  local inner, rest = problem.path, problem.message
  return { path = inner == "" and step or (inner:sub(1, 1) == "[" and step .. inner or step .. "." .. inner), message = rest }
end

local function wrong(message) return { path = "", message = message } end

local function expected(all, node, value)
  return wrong("expected " .. name_of(all, node) .. ", got " .. given(value))
end

local checks = {}

function checks.min(value, least)
  if math_type(value) and value < least then return "is below the minimum (@min) of " .. shown(least) end
end

function checks.max(value, most)
  if math_type(value) and value > most then return "is above the maximum (@max) of " .. shown(most) end
end

local function length(value)
  if type(value) == "string" or type(value) == "table" then return #value end
end

function checks.min_len(value, least)
  local size = length(value)
  if size and size < least then return "has the length " .. size .. ", less than the minimum length of " .. shown(least) end
end

function checks.max_len(value, most)
  local size = length(value)
  if size and size > most then return "has the length " .. size .. ", more than the maximum length of " .. shown(most) end
end

function checks.pattern(value, pattern)
  if type(value) == "string" and not matches(value, pattern) then
    return "does not match the pattern " .. shown(pattern)
  end
end

local primitives = {
  any = function() return true end,
  unknown = function() return true end,
  never = function() return false end,
  integer = function(value) return math_type(value) == "integer" or math_type(value) == "float" and value % 1 == 0 end,
  error = function(value) return type(value) == "userdata" or type(value) == "string" or type(value) == "table" end,
}
for _, kind in next, { "boolean", "function", "nil", "number", "string", "table", "thread", "userdata" } do
  primitives[kind] = function(value) return type(value) == kind end
end

local kinds = {}

function kinds.literal(all, node, value)
  if value ~= node.value or type(value) ~= type(node.value) then return expected(all, node, value) end
end

function kinds.optional(all, node, value, state)
  if value ~= nil then return valid(all, node.inner, value, state) end
end

function kinds.union(all, node, value, state)
  local last
  for _, member in next, node.members do
    local problem = valid(all, member, value, state)
    if problem == nil then return nil end
    -- What failed inside says more than that no member fits.
    if problem.path ~= "" or problem.is_check then last = problem end
  end
  return last or expected(all, node, value)
end

function kinds.intersection(all, node, value, state)
  for _, member in next, node.members do
    local problem = valid(all, member, value, state)
    if problem then return problem end
  end
end

function kinds.array(all, node, value, state)
  if type(value) ~= "table" then return expected(all, node, value) end
  local size = #value
  for key in next, value do
    if math_type(key) ~= "integer" or key < 1 or key > size then
      return wrong("expected " .. name_of(all, node) .. ", got a table with the key " .. shown(key))
    end
  end
  for index = 1, size do
    local problem = valid(all, node.elem, value[index], state)
    if problem then return at(state, "[" .. index .. "]", problem) end
  end
end

local function pair(all, keys, values, key, value, state)
  local problem = valid(all, keys, key, state)
  if problem then return at(state, "[" .. shown(key) .. "]", wrong("key: " .. problem.message)) end
  return at(state, "[" .. shown(key) .. "]", valid(all, values, value, state))
end

function kinds.map(all, node, value, state)
  if type(value) ~= "table" then return expected(all, node, value) end
  for key, item in next, value do
    local problem = pair(all, node.key, node.val, key, item, state)
    if problem then return problem end
  end
end

function kinds.record(all, node, value, state)
  if type(value) ~= "table" then return expected(all, node, value) end
  for _, field in next, node.fields do
    local item = value[field.name]
    if item == nil and field.is_optional then goto continue end
    local problem = valid(all, field.node, item, state)
    if problem then return at(state, field.name, problem) end
    ::continue::
  end
  for index, element in next, node.elements do
    local problem = valid(all, element, value[index], state)
    if problem then return at(state, "[" .. index .. "]", problem) end
  end
  if #node.maps == 0 then return nil end
  for key, item in next, value do
    if not node.by_name[key] and not (math_type(key) == "integer" and node.elements[key]) then
      local problem
      for _, map in next, node.maps do
        problem = pair(all, map.key, map.val, key, item, state)
        if problem == nil then break end
      end
      if problem then return problem end
    end
  end
end

kinds["function"] = function(all, node, value)
  if type(value) ~= "function" then return wrong("expected function, got " .. given(value)) end
end

function kinds.checked(all, node, value, state)
  local problem = valid(all, node.inner, value, state)
  if problem then return problem end
  if value == nil then return nil end
  for _, check in next, node.checks do
    local known = checks[check.name]
    local message = known and known(value, check.argument)
    if message then return { path = "", message = message, is_check = true } end
  end
end

function valid(all, node, value, state)
  node = resolved(all, node)
  local primitive = primitives[node.kind]
  if primitive and not node.params then
    if primitive(value) then return nil end
    return expected(all, node, value)
  end
  local known
  if type(value) == "table" then
    known = state.known[node]
    if not known then
      known = {}
      state.known[node] = known
    end
    local before = known[value]
    if before ~= nil then return before or nil end
    -- While it is looked at it counts as good: what holds itself is as good as the rest of it.
    known[value] = false
  end
  if state.depth >= DEPTH_MAX then return wrong("is nested more than " .. DEPTH_MAX .. " deep") end
  state.depth = state.depth + 1
  local problem = kinds[node.kind](all, node, value, state)
  state.depth = state.depth - 1
  if known then known[value] = problem or false end
  return problem
end

-- The message of what is wrong with `value`, if it is not of the type.
local function check(all, node, value)
  local problem = valid(all, node, value, { depth = 0, known = {} })
  if problem == nil then return nil end
  local where = problem.path == "" and "" or problem.path .. ": "
  return name_of(all, node) .. ": " .. where .. problem.message
end

-- Subtypes -----------------------------------------------------------------------------------------------------

local subtype

local function same(all, a, b, assumed) return subtype(all, a, b, assumed) and subtype(all, b, a, assumed) end

local function members(all, node)
  if node.kind == "union" then return node.members end
  if node.kind == "optional" then return { node.inner, simple(all, "nil") } end
end

local function each(list, f)
  for _, item in next, list do if not f(item) then return false end end
  return true
end

local function some(list, f)
  for _, item in next, list do if f(item) then return true end end
  return false
end

local function record_subtype(all, a, b, assumed)
  return each(b.fields, function(wanted)
    local field = a.by_name[wanted.name]
    if not field then return wanted.is_optional end
    -- Fields can be assigned, so their types must be the same.
    return (wanted.is_optional or not field.is_optional) and same(all, field.node, wanted.node, assumed)
  end) and #b.maps == 0 and #b.elements == 0
end

local function function_subtype(all, a, b, assumed)
  if #a.params > #b.params or #a.returns < #b.returns then return false end
  for index, param in next, a.params do
    if not subtype(all, b.params[index], param, assumed) then return false end
  end
  for index, returned in next, b.returns do
    if not subtype(all, a.returns[index], returned, assumed) then return false end
  end
  return true
end

local function structural(all, a, b, assumed)
  local over, under = members(all, b), members(all, a)
  if under then return each(under, function(member) return subtype(all, member, b, assumed) end) end
  if over then return some(over, function(member) return subtype(all, a, member, assumed) end) end
  if b.kind == "intersection" then
    return each(b.members, function(member) return subtype(all, a, member, assumed) end)
  end
  if a.kind == "intersection" then
    return some(a.members, function(member) return subtype(all, member, b, assumed) end)
  end
  if a.kind == "checked" then
    if b.kind ~= "checked" then return subtype(all, a.inner, b, assumed) end
    return same(all, a.inner, b.inner, assumed) and each(b.checks, function(wanted)
      return some(a.checks, function(own) return own.name == wanted.name and own.argument == wanted.argument end)
    end)
  end
  if a.kind == "literal" then
    if b.kind == "literal" then return a.value == b.value and type(a.value) == type(b.value) end
    return primitives[b.kind] ~= nil and not b.params and primitives[b.kind](a.value)
  end
  if a.kind ~= b.kind then
    if a.kind == "integer" and b.kind == "number" then return true end
    local is_table = a.kind == "array" or a.kind == "map" or a.kind == "record"
    return is_table and b.kind == "table" and not b.params
  end
  if a.kind == "array" then return same(all, a.elem, b.elem, assumed) end
  if a.kind == "map" then return same(all, a.key, b.key, assumed) and same(all, a.val, b.val, assumed) end
  if a.kind == "record" then return record_subtype(all, a, b, assumed) end
  if a.kind == "function" then
    if not b.params then return true end
    return a.params ~= nil and function_subtype(all, a, b, assumed)
  end
  return true
end

function subtype(all, a, b, assumed)
  a, b = resolved(all, a), resolved(all, b)
  if rawequal(a, b) or b.kind == "any" or b.kind == "unknown" or a.kind == "never" then return true end
  local of = assumed[a]
  if not of then
    of = {}
    assumed[a] = of
  end
  if of[b] ~= nil then return of[b] end
  -- Types that are made of themselves: what is being compared is taken to hold.
  of[b] = true
  local holds = structural(all, a, b, assumed)
  of[b] = holds
  return holds
end

-- Objects ------------------------------------------------------------------------------------------------------

local object

-- Iterates over `list`, of which `give` makes what is seen.
local function iterate(list, give)
  local index = 0
  return function()
    index = index + 1
    if list[index] ~= nil then return give(list[index]) end
  end
end

local methods = {}

function methods.kind(all, node)
  node = resolved(all, node)
  if node.kind == "checked" then return methods.kind(all, node.inner) end
  return node.kind
end

function methods.name(all, node) return name_of(all, node) end

function methods.is(all, node, value)
  local problem = check(all, node, value)
  if problem then return nil, refused(problem) end
  return value, nil
end

-- The node without validators, which must be of one of the kinds.
local function bare(all, node, method, ...)
  node = resolved(all, node)
  while node.kind == "checked" do node = resolved(all, node.inner) end
  for index = 1, select("#", ...) do
    if node.kind == select(index, ...) and (node.kind ~= "function" or node.params) then return node end
  end
  error("the type " .. name_of(all, node) .. " has no `" .. method .. "`", 0)
end

function methods.fields(all, node)
  return iterate(bare(all, node, "fields", "record").fields, function(field)
    return field.name, object(all, field.is_optional and field.as_optional or field.node)
  end)
end

function methods.elem(all, node) return object(all, bare(all, node, "elem", "array").elem) end
function methods.key(all, node) return object(all, bare(all, node, "key", "map").key) end
function methods.val(all, node) return object(all, bare(all, node, "val", "map").val) end
function methods.inner(all, node) return object(all, bare(all, node, "inner", "optional").inner) end

function methods.variants(all, node)
  return iterate(bare(all, node, "variants", "union", "intersection").members, function(it) return object(all, it) end)
end

function methods.params(all, node)
  return iterate(bare(all, node, "params", "function").params, function(it) return object(all, it) end)
end

function methods.ret(all, node)
  return object(all, bare(all, node, "ret", "function").returns[1] or simple(all, "nil"))
end

-- The type of a record's field.
local function field_of(all, node, name)
  node = resolved(all, node)
  while node.kind == "checked" do node = resolved(all, node.inner) end
  local field = node.kind == "record" and node.by_name[name]
  return field and object(all, field.is_optional and field.as_optional or field.node)
end

local function metatable(all)
  local nodes = all.nodes
  local bound = {}
  for name, method in next, methods do
    bound[name] = function(self, ...)
      local node = nodes[self]
      if not node then error("bad argument to '" .. name .. "' (type expected, got " .. type(self) .. ")", 2) end
      return method(all, node, ...)
    end
  end
  local function compare(a, b, strict)
    local one, other = nodes[a], nodes[b]
    if not one or not other then error("attempt to compare a type with a " .. type(one and b or a), 2) end
    return subtype(all, one, other, {}) and not (strict and subtype(all, other, one, {}))
  end
  return {
    __name = "type", __metatable = false,
    __index = function(self, name)
      return field_of(all, nodes[self], name) or bound[name]
    end,
    __newindex = function() error("types can't be changed", 2) end,
    __call = function(self, value, ...)
      -- `User:name()` where `User` has a field of that name.
      local asked = nodes[value]
      if asked then
        for name, method in next, bound do
          if rawequal(field_of(all, asked, name), self) then return method(value, ...) end
        end
      end
      local problem = check(all, nodes[self], value)
      if problem then error(refused(problem), 0) end
      return value
    end,
    __tostring = function(self) return name_of(all, nodes[self]) end,
    __eq = function(a, b) return nodes[a] ~= nil and nodes[b] ~= nil and compare(a, b) and compare(b, a) end,
    __le = function(a, b) return compare(a, b) end,
    __lt = function(a, b) return compare(a, b, true) end,
  }
end

function object(all, node)
  -- A type of a library is the object that the library gives.
  while node.kind == "library" do
    resolved(all, node)
    node = node.target
  end
  local made = all.objects[node]
  if not made then
    made = setmetatable({}, all.metatable)
    all.objects[node] = made
    all.nodes[made] = node
  end
  return made
end

-- The type of a value, as far as one can see it.
local function type_of(all, value)
  if all.nodes[value] then return value end
  return object(all, simple(all, SIMPLE[type(value)] and type(value) or "any"))
end

-- Nodes of a chunk ---------------------------------------------------------------------------------------------

local build = {}

function build.literal(node, written) node.value = written[2] end
function build.optional(node, written, at) node.inner = at(written[2]) end
function build.checked(node, written, at)
  node.inner, node.checks = at(written[2]), {}
  local list = written[3]
  for index = 1, #list, 2 do node.checks[#node.checks + 1] = { name = list[index], argument = list[index + 1] } end
end
function build.array(node, written, at) node.elem = at(written[2]) end
function build.map(node, written, at) node.key, node.val = at(written[2]), at(written[3]) end
function build.named(node, written, at) node.name, node.target = written[2], at(written[3]) end
function build.library(node, written, _, require)
  node.module, node.member, node.require = written[2], written[3], require
end

local function all_of(list, at)
  local made = {}
  for index, number in next, list do made[index] = at(number) end
  return made
end

function build.union(node, written, at) node.members = all_of(written[2], at) end
build.intersection = build.union
build["function"] = function(node, written, at)
  node.params, node.returns = all_of(written[2], at), all_of(written[3], at)
end

function build.record(node, written, at)
  node.fields, node.by_name, node.maps = {}, {}, {}
  local fields, maps = written[2], written[3]
  for index = 1, #fields, 3 do
    local field = { name = fields[index], node = at(fields[index + 1]), is_optional = fields[index + 2] }
    if field.is_optional then field.as_optional = { kind = "optional", inner = field.node } end
    node.fields[#node.fields + 1], node.by_name[field.name] = field, field
  end
  for index = 1, #maps, 2 do node.maps[#node.maps + 1] = { key = at(maps[index]), val = at(maps[index + 1]) } end
  node.elements = all_of(written[4], at)
end

local KEY = {}

return function(loaded, require)
  local all = loaded[KEY]
  if not all then
    all = universe()
    all.metatable = metatable(all)
    loaded[KEY] = all
  end
  return function(written, names)
    local nodes = {}
    local function at(number) return nodes[number] end
    for number, one in next, written do
      local is_simple = #one == 1 and SIMPLE[one[1]]
      nodes[number] = is_simple and simple(all, one[1]) or { kind = one[1] }
    end
    for number, one in next, written do
      if nodes[number].kind ~= one[1] then error("a damaged description of types", 0) end
      if #one > 1 then build[one[1]](nodes[number], one, at, require) end
    end
    local values = { typeof = function(value) return type_of(all, value) end }
    for name, number in next, names do values[name] = object(all, nodes[number]) end
    -- `typeof` of a variable whose type is known.
    return setmetatable(values, {
      __index = function(_, number)
        return function() return object(all, nodes[number]) end
      end,
    })
  end
end
