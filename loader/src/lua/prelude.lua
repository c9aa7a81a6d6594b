-- Runs once in each Lua state. `rust` holds the functions that Rust gives; the answer is the function that
-- runs an invocation. Nothing that an invocation can change is shared with another: its globals, libraries,
-- modules and the metatable of strings are made anew in `fresh`.
local rust = ...

local co_create, co_resume, co_yield = coroutine.create, coroutine.resume, coroutine.yield
local co_status, co_running, co_close = coroutine.status, coroutine.running, coroutine.close
local co_isyieldable = coroutine.isyieldable
local error, type, select, setmetatable, getmetatable = error, type, select, setmetatable, getmetatable
local xpcall, rawget, rawset, next, pairs, sub = xpcall, rawget, rawset, next, pairs, string.sub
local tostring, pack, unpack = tostring, table.pack, table.unpack
local random, randomseed, tointeger = math.random, math.randomseed, math.tointeger

-- What passes through `yield` starts with one of these, which no user code can get hold of. The hook that
-- interrupts a coroutine yields nothing at all.
local WAITS, YIELDS = {}, {}

-- An object that is collected with every collection, and is there again for the next one, from the first call of
-- `watch(true)` to that of `watch(false)`: a state that is closed collects as well, and can't call Rust any more.
local is_watched = false
local Watch = {}
function Watch.__gc(self)
  if not is_watched then return end
  rust.collected()
  setmetatable(self, Watch)
end

local function watch(is_wanted)
  is_watched = is_wanted
  if is_wanted then setmetatable({}, Watch) end
end

-- Coroutines of users, made by `coroutine.create` and `wrap`, and those of them that wait for an operation.
local weak = { __mode = "k" }
local nested, waiting_in = setmetatable({}, weak), setmetatable({}, weak)

local CANT_WAIT = "can't wait here: a callback of table.sort, string.gsub, an iterator or a metamethod "
  .. "that runs inside a library function can't be suspended"

-- Errors that Rust functions raise are objects; users see the text that a C function would have raised.
local function plain(problem)
  if type(problem) == "userdata" then return rust.plain(problem) end
  return problem
end

-- Ends an invocation that has to end where the hook can't: it runs neither in an error's handler, if the error
-- is its own, nor in what closes a coroutine that it ended.
local function check_end()
  if rust.has_ended() then rust.raise_end() end
end

local function caught(ok, ...)
  if ok then return ok, ... end
  return ok, plain((...))
end

local function resumed(ok, ...)
  if ok then
    -- An error that Rust made while nothing of Lua ran: it gets the stack of who waited for it.
    if (...) == nil and select("#", ...) == 2 then return nil, rust.located((select(2, ...))) end
    return ...
  end
  error((...), 0)
end

local function finish(waits, ...)
  if waits then return resumed(co_yield(WAITS)) end
  return ...
end

-- A function whose callers wait for the operation that `begin` starts, if it starts one.
local function waiting(begin)
  return function(...)
    if not co_isyieldable() then error(CANT_WAIT, 2) end
    return finish(begin(...))
  end
end

-- Coroutines ---------------------------------------------------------------------------------------------

local passed

local function go_on(co, ...)
  waiting_in[co] = nil
  return passed(co, co_resume(co, ...))
end

-- Defined with channels.
local leave

-- What a resumed coroutine gave: its own values go to its resumer; that it waits, or was interrupted, is
-- the invocation's business and passes through.
function passed(co, ...)
  local ok, tag, entry = ...
  if not ok then return false, plain(tag) end
  if tag == YIELDS then return true, select(3, ...) end
  local interrupted = tag == nil and co_status(co) == "suspended"
  if tag ~= WAITS and not interrupted then return ... end
  if interrupted and not co_isyieldable() then
    -- In a callback of a library function: nobody else can have a turn meanwhile.
    check_end()
    return passed(co, co_resume(co))
  end
  if not co_isyieldable() then
    -- What it would have been sent is for others.
    if entry then leave(entry) end
    rust.abandon()
    error(CANT_WAIT, 0)
  end
  waiting_in[co] = true
  if interrupted then
    co_yield()
    return go_on(co)
  end
  return go_on(co, co_yield(WAITS, entry))
end

local function resume(co, ...)
  if waiting_in[co] then return false, "cannot resume non-suspended coroutine" end
  return passed(co, co_resume(co, ...))
end

-- Whether a coroutine of a user runs: who resumes it sees what it raises, but no handler of errors.
function rust.is_nested() return nested[co_running()] end

local function create(f)
  local co = co_create(f)
  nested[co] = true
  return co
end

local function unwrapped(co, ok, ...)
  if ok then return ... end
  local problem = ...
  if co_status(co) == "dead" then
    check_end()
    -- What its `<close>` variables raise takes the place of the error.
    local closed, raised = co_close(co)
    if not closed then problem = plain(raised) end
  end
  if type(problem) == "string" then error(problem, 3) end
  error(problem, 0)
end

local function wrap(f)
  local co = create(f)
  return function(...) return unwrapped(co, resume(co, ...)) end
end

local function yield(...)
  if not nested[co_running()] then error("attempt to yield from outside a coroutine", 2) end
  if not co_isyieldable() then error(CANT_WAIT, 2) end
  return co_yield(YIELDS, ...)
end

local function running()
  local co = co_running()
  if nested[co] then return co, false end
  return nil, true
end

local function status(co)
  if waiting_in[co] then return "normal" end
  return co_status(co)
end

local function close(co)
  if waiting_in[co] then error("cannot close a running coroutine", 2) end
  check_end()
  return co_close(co)
end

local function isyieldable()
  return nested[co_running()] == true and co_isyieldable()
end

-- Channels (`en/lua/core/channel.md`) ---------------------------------------------------------------------

-- Methods are in tables of their own: `__index` of an object is not its metatable, which all invocations of this
-- state share.
local channel_methods = {}
local Channel = { __name = "channel", __metatable = false, __index = channel_methods }
local Case = { __name = "select case", __metatable = false }

-- A coroutine that waits has an entry in the queue of its channel; one that selects has one for each of its cases,
-- and all of them go when it is served: a quiet channel would keep them for ever. Queues are doubly linked lists, so
-- an entry leaves from wherever it stands.
local function push(queue, entry)
  local last = queue.last
  entry.queue, entry.before = queue, last
  if last then last.after = entry else queue.first = entry end
  queue.last = entry
end

local function remove(entry)
  local queue, before, after = entry.queue, entry.before, entry.after
  if before then before.after = after else queue.first = after end
  if after then after.before = before else queue.last = before end
  entry.before, entry.after = nil, nil
end

function leave(entry)
  local entries = entry.entries
  if not entries then return remove(entry) end
  for index = 1, #entries do remove(entries[index]) end
end

-- Waits until `entry` is served. Meanwhile the coroutine's stack holds the entry, which holds the channel: a channel
-- that somebody waits for is no garbage.
local function park(entry) return resumed(co_yield(WAITS, entry)) end

-- The running coroutine as something to wake, before it waits.
local function waiter(kind)
  if not co_isyieldable() then error(CANT_WAIT, 3) end
  kind.task = rust.task()
  return kind
end

local function channel_new(size)
  if size == nil then size = 0 end
  local count = type(size) == "number" and tointeger(size)
  if not count or count < 0 then
    error("bad argument #1 to 'new' (size: expected an integer from 0, got " .. tostring(size) .. ")", 2)
  end
  return setmetatable({
    size = count, buffer = {}, first = 1, last = 0, closed = false,
    receivers = {}, senders = {},
  }, Channel)
end

local function checked(value, kind, name)
  if rust.metatable(value) ~= kind then
    error("bad argument to '" .. name .. "' (" .. kind.__name .. " expected, got " .. type(value) .. ")", 3)
  end
  return value
end

-- Wakes the coroutine of `entry` with what happened on its channel.
local function serve(entry, value, ok)
  leave(entry)
  local task = entry.task
  if entry.sends and not ok then
    rust.wake(task, false, "send on closed channel")
  elseif entry.entries then
    rust.wake(task, true, { channel = entry.channel, value = value, ok = ok })
  elseif entry.sends then
    rust.wake(task, true, true)
  else
    rust.wake(task, true, value, ok)
  end
end

-- Sends without waiting; whether it could.
local function try_send(ch, value)
  local receiver = ch.receivers.first
  if receiver then
    serve(receiver, value, true)
    return true
  end
  if ch.last - ch.first + 1 < ch.size then
    ch.last = ch.last + 1
    ch.buffer[ch.last] = value
    return true
  end
  return false
end

-- Receives without waiting: whether it could, the value, and whether there was one.
local function try_receive(ch)
  if ch.first <= ch.last then
    local value = ch.buffer[ch.first]
    ch.buffer[ch.first] = nil
    ch.first = ch.first + 1
    local sender = ch.senders.first
    if sender then
      ch.last = ch.last + 1
      ch.buffer[ch.last] = sender.value
      serve(sender, sender.value, true)
    end
    return true, value, true
  end
  local sender = ch.senders.first
  if sender then
    serve(sender, sender.value, true)
    return true, sender.value, true
  end
  local source = ch.source
  if source then
    local has, fed = source()
    if has then return true, fed, true end
  end
  if ch.closed then return true, nil, false end
  return false
end

-- Feeds those that wait for `ch` from its source.
local function arrived(ch)
  while true do
    local receiver, source = ch.receivers.first, ch.source
    if not receiver or not source then return end
    local has, value = source()
    if not has then return end
    serve(receiver, value, true)
  end
end

function channel_methods:send(value)
  checked(self, Channel, "send")
  if self.closed then error("send on closed channel", 2) end
  if try_send(self, value) then return true end
  local entry = waiter { channel = self, sends = true, value = value }
  push(self.senders, entry)
  return park(entry)
end

function channel_methods:receive()
  checked(self, Channel, "receive")
  local done, value, ok = try_receive(self)
  if done then return value, ok end
  local entry = waiter { channel = self }
  push(self.receivers, entry)
  return park(entry)
end

function channel_methods:close()
  checked(self, Channel, "close")
  if self.closed then return end
  self.closed = true
  while self.receivers.first do serve(self.receivers.first, nil, false) end
  while self.senders.first do serve(self.senders.first, nil, false) end
end

function channel_methods:case_send(value)
  return setmetatable({ channel = checked(self, Channel, "case_send"), sends = true, value = value }, Case)
end

function channel_methods:case_receive()
  return setmetatable({ channel = checked(self, Channel, "case_receive") }, Case)
end

-- Puts `value` into `ch` without waiting; whether there was room.
local function offer(ch, value)
  return not ch.closed and try_send(ch, value)
end

local function channel_select(cases, default)
  if type(cases) ~= "table" then
    error("bad argument #1 to 'select' (table of cases expected, got " .. type(cases) .. ")", 2)
  end
  local count = #cases
  for index = 1, count do
    local case = cases[index]
    if rust.metatable(case) ~= Case then
      error("invalid case " .. index .. " in select: expected case_send() or case_receive()", 2)
    end
  end
  -- Where several are ready, none is preferred.
  local first = count > 1 and random(count) or 1
  for step = 0, count - 1 do
    local case = cases[(first + step - 1) % count + 1]
    local ch = case.channel
    if case.sends then
      if ch.closed then error("send on closed channel", 2) end
      if try_send(ch, case.value) then return { channel = ch, value = case.value, ok = true } end
    else
      local done, value, ok = try_receive(ch)
      if done then return { channel = ch, value = value, ok = ok } end
    end
  end
  if default or cases.default then return { default = true, ok = true } end
  if count == 0 then error("select without cases waits for ever", 2) end
  local entries, task = {}, waiter({}).task
  for index = 1, count do
    local case = cases[index]
    local ch, sends = case.channel, case.sends
    local entry = { channel = ch, sends = sends, value = case.value, task = task, entries = entries }
    entries[index] = entry
    push(sends and ch.senders or ch.receivers, entry)
  end
  return park(entries[1])
end

-- The modules written in Rust build on these.
rust.open(waiting, channel_new, offer, arrived)

-- Calls (`en/lua/core/funcs.md`, `en/lua/core/future.md`) -------------------------------------------------

local future_methods = {}
local Future = { __name = "future", __metatable = false, __index = future_methods }

local function settle(future, value, problem)
  if future.complete then return end
  future.complete = true
  future.failed = problem
  if problem == nil then
    future.payload = rust.payload(value)
    offer(future.responses, future.payload)
  end
  future.responses:close()
end

function future_methods:response() return checked(self, Future, "response").responses end
future_methods.channel = future_methods.response
function future_methods:is_complete() return checked(self, Future, "is_complete").complete end
function future_methods:is_canceled() return checked(self, Future, "is_canceled").canceled end

function future_methods:result()
  checked(self, Future, "result")
  if self.failed ~= nil then return nil, rust.located(self.failed) end
  return self.payload, nil
end

function future_methods:error()
  checked(self, Future, "error")
  return rust.located(self.failed), self.failed ~= nil
end

function future_methods:cancel()
  checked(self, Future, "cancel")
  if self.complete then return false, nil end
  self.canceled = true
  rust.cancel(self.handle)
  settle(self, nil, rust.canceled(self.target))
  return true, nil
end

local call = waiting(rust.call)

-- `call` without options. Written out, since it is called most: it always gives two values. What calls a guest is
-- kept by its id.
local begin_call, guests = rust.call, rust.guests
local function plain_call(target, ...)
  if not co_isyieldable() then error(CANT_WAIT, 2) end
  local guest, waits, value, problem = guests[target]
  if guest then
    waits, value, problem = guest(...)
  else
    waits, value, problem = begin_call(nil, target, ...)
  end
  if waits then return resumed(co_yield(WAITS)) end
  return value, problem
end

local function async(options, target, ...)
  local future = setmetatable({
    target = target, responses = channel_new(1), complete = false, canceled = false,
  }, Future)
  local handle, problem = rust.async(
    function(value, failed) settle(future, value, failed) end, options, target, ...
  )
  if handle == nil then return nil, problem end
  future.handle = handle
  return future, nil
end

local executor_methods = {}
local Executor = { __name = "executor", __metatable = false, __index = executor_methods }

local function executor(options) return setmetatable({ options = options }, Executor) end

for _, name in next, { "with_context", "with_actor", "with_scope", "with_options" } do
  local change = rust[name]
  executor_methods[name] = function(self, value)
    local options, problem = change(checked(self, Executor, name).options, value)
    if options == nil then return nil, problem end
    return executor(options), nil
  end
end

function executor_methods:call(...) return call(checked(self, Executor, "call").options, ...) end
function executor_methods:async(...) return async(checked(self, Executor, "async").options, ...) end

local funcs = {
  call = plain_call,
  async = function(...) return async(nil, ...) end,
  new = function() return executor(nil) end,
}

-- Environments ---------------------------------------------------------------------------------------------

local function copy(template)
  if type(template) ~= "table" then return template end
  local made = {}
  for key, value in next, template do
    if type(value) == "table" and getmetatable(value) == nil then value = copy(value) end
    made[key] = value
  end
  return made
end

-- Locals that a function can have, which is less than the variables that an inner one can use of it.
local LOCALS_MAX <const> = 200

-- What makes copies of `template` as `copy` does: a constructor with all fields is several times faster than a loop.
local function copier(template)
  local values, names, count = {}, {}, 0
  local function source(value)
    if type(value) == "table" and getmetatable(value) == nil then
      local fields = {}
      for key, item in next, value do fields[#fields + 1] = ("[%q]=%s"):format(key, source(item)) end
      return "{" .. table.concat(fields, ",") .. "}"
    end
    count = count + 1
    values[count], names[count] = value, "v" .. count
    return names[count]
  end
  local constructor = source(template)
  if count == 0 or count > LOCALS_MAX then return function() return copy(template) end end
  local text = "local " .. table.concat(names, ",") .. " = ... return function() return " .. constructor .. " end"
  return load(text, "=prelude")(unpack(values, 1, count))
end

local function safe_setmetatable(object, metatable)
  if type(metatable) == "table" and rawget(metatable, "__gc") ~= nil then
    error("bad argument #2 to 'setmetatable' ('__gc' is not available)", 2)
  end
  return setmetatable(object, metatable)
end

-- What C functions raise that the prelude calls for a user has the prelude's place.
local function positioned(problem)
  if type(problem) == "string" and sub(problem, 1, 8) == "prelude:" then return rust.positioned(problem) end
  return problem
end

local function safe_pcall(f, ...) return caught(xpcall(f, positioned, ...)) end

local function safe_xpcall(f, handler, ...)
  if type(handler) ~= "function" then return xpcall(f, handler, ...) end
  return xpcall(f, function(problem)
    if rust.has_ended() then return problem end
    return handler(plain(positioned(problem)))
  end, ...)
end

local function print(...)
  local values = pack(...)
  for index = 1, values.n do values[index] = tostring(values[index]) end
  rust.print(table.concat(values, "\t", 1, values.n))
end

local function spawn(f, ...)
  if type(f) ~= "function" then
    error("bad argument #1 to 'spawn' (function expected, got " .. type(f) .. ")", 2)
  end
  if select("#", ...) > 0 then
    local called, arguments = f, pack(...)
    f = function() return called(unpack(arguments, 1, arguments.n)) end
  end
  rust.spawn(f)
end

local log = math.log
local math_exp = math.exp

local templates = {
  string = rust.string,
  table = rust.table,
  math = math,
  coroutine = {
    create = create, resume = resume, yield = yield, wrap = wrap, running = running, status = status,
    close = close, isyieldable = isyieldable, spawn = spawn,
  },
  channel = { new = channel_new, select = channel_select },
  errors = rust.module("errors"),
  os = rust.module("os"),
  payload = rust.module("payload"),
  process = rust.module("process"),
}
math.pow = function(x, y) return x ^ y end
math.log10 = function(x) return log(x, 10) end
math.atan2 = math.atan
math.sinh = function(x) return (math_exp(x) - math_exp(-x)) / 2 end
math.cosh = function(x) return (math_exp(x) + math_exp(-x)) / 2 end
math.tanh = function(x)
  local e = math_exp(-2 * (x < 0 and -x or x))
  local t = (1 - e) / (1 + e)
  return x < 0 and -t or t
end

-- Modules by name, made when they are first required. What is a global may be required as well.
local modules = { funcs = funcs }
for name, template in next, templates do modules[name] = template end

local function module_of(name)
  local module = modules[name]
  if module == nil then
    -- False for what is none, such as the id of a library.
    module = rust.module(name) or false
    modules[name] = module
  end
  return module
end

-- Globals that documents name and do not describe; what they name is what a process listens to.
local listen, unlisten = templates.process.listen, templates.process.unlisten
local function subscribe(topic) return listen(topic) end
local function unsubscribe(channel) return unlisten(channel) end

-- Types as values: what the compiler writes in front of a source asks for them under a name that no module has.
local types

-- The globals of one invocation.
local make = {}
for name, template in next, templates do make[name] = copier(template) end
local make_string, make_table, make_math, make_coroutine = make.string, make.table, make.math, make.coroutine
local make_channel, make_errors, make_os = make.channel, make.errors, make.os
local make_payload, make_process = make.payload, make.process
local strings = copy(getmetatable(""))
strings.__index = false
local make_metatable = copier(strings)
local assert, ipairs, rawequal, tonumber, version = assert, ipairs, rawequal, tonumber, _VERSION

local function fresh()
  local globals = {
    assert = assert, error = error, getmetatable = getmetatable, ipairs = ipairs, next = next, pairs = pairs,
    pcall = safe_pcall, print = print, rawequal = rawequal, rawget = rawget, rawset = rawset, select = select,
    setmetatable = safe_setmetatable, tonumber = tonumber, tostring = tostring, type = type, unpack = unpack,
    xpcall = safe_xpcall, _VERSION = version, subscribe = subscribe, unsubscribe = unsubscribe,
    string = make_string(), table = make_table(), math = make_math(), coroutine = make_coroutine(),
    channel = make_channel(), errors = make_errors(), os = make_os(), payload = make_payload(),
    process = make_process(), _G = false,
  }
  globals._G = globals
  local metatable = make_metatable()
  metatable.__index = globals.string
  rust.string_metatable(metatable)
  randomseed()
  return globals
end

-- Sources of this state by entry: `factory`, and what `require` gives by name.
local chunks = {}

local function chunk_of(id)
  local chunk = chunks[id]
  if not chunk then
    chunk = rust.load(id)
    chunks[id] = chunk
  end
  return chunk
end

local function run_chunk(id, globals, loaded)
  local chunk = chunk_of(id)
  local require
  function require(name)
    if name == ":types" then
      types = types or rust.types()
      return types(loaded, require)
    end
    local target = chunk.names[name]
    if target == nil and templates[name] ~= nil then target = name end
    if target == nil then
      error("module '" .. tostring(name) .. "' is neither in `modules` nor in `imports` of " .. id, 2)
    end
    local done = loaded[target]
    if done ~= nil then return done end
    local module = module_of(target)
    if module then
      -- A module that is a global as well is one table under both names.
      done = globals[target]
      if type(done) ~= "table" or templates[target] == nil then
        if not make[target] then make[target] = copier(module) end
        done = make[target]()
      end
    else
      done = run_chunk(target, globals, loaded)
      if done == nil then done = true end
    end
    loaded[target] = done
    return done
  end
  return chunk.factory(globals, require)
end

local function invoke(id, method, ...)
  local globals = fresh()
  local exported = run_chunk(id, globals, {})
  local f = exported
  if method ~= nil and type(exported) ~= "function" then
    if type(exported) == "table" then
      f = exported[method]
    elseif exported == nil then
      f = globals[method]
    end
    if f == nil then error("it has no function '" .. method .. "'", 0) end
  elseif f == nil then
    error("its source returns neither a function nor a table", 0)
  end
  return f(...)
end

-- What a coroutine of the scheduler runs: an error object or the values.
local function protected(f, ...)
  return xpcall(f, rust.caught, ...)
end

return function(...) return protected(invoke, ...) end, protected, watch
