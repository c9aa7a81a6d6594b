---@meta funcs
-- The functions of this registry, as `compiler types` sees them.

---@class funcs
local funcs = {}

---@class funcs.Error
---@field message fun(self: funcs.Error): string
---@field kind fun(self: funcs.Error): string
---@field retryable fun(self: funcs.Error): boolean?
---@field details fun(self: funcs.Error): any
---@field stack fun(self: funcs.Error): string

---@class funcs.Payload
---@field data fun(self: funcs.Payload): any

---@class funcs.Future
---@field response fun(self: funcs.Future): any
---@field channel fun(self: funcs.Future): any
---@field is_complete fun(self: funcs.Future): boolean
---@field is_canceled fun(self: funcs.Future): boolean
---@field result fun(self: funcs.Future): funcs.Payload?, funcs.Error?
---@field error fun(self: funcs.Future): funcs.Error?, boolean
---@field cancel fun(self: funcs.Future): boolean, funcs.Error?

---@class funcs.Executor
---@field with_context fun(self: funcs.Executor, values: table<string, any>): funcs.Executor
---@field with_actor fun(self: funcs.Executor, actor: any): funcs.Executor
---@field with_scope fun(self: funcs.Executor, scope: any): funcs.Executor
---@field with_options fun(self: funcs.Executor, options: table<string, any>): funcs.Executor
local executor = {}

---@return funcs.Executor
function funcs.new() end

---@class app.greet.Person
---@field name string
---@field age? number

---@overload fun(target: "app:answer"): any, funcs.Error?
---@overload fun(target: "app:greet", person: app.greet.Person, loud?: boolean): string?, funcs.Error?
---@param target string
---@param ... any
---@return any result
---@return funcs.Error? err
function funcs.call(target, ...) end

---@overload fun(target: "app:answer"): funcs.Future?, funcs.Error?
---@overload fun(target: "app:greet", person: app.greet.Person, loud?: boolean): funcs.Future?, funcs.Error?
---@param target string
---@param ... any
---@return funcs.Future? result
---@return funcs.Error? err
function funcs.async(target, ...) end

---@overload fun(self: funcs.Executor, target: "app:answer"): any, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app:greet", person: app.greet.Person, loud?: boolean): string?, funcs.Error?
---@param target string
---@param ... any
---@return any result
---@return funcs.Error? err
function executor:call(target, ...) end

---@overload fun(self: funcs.Executor, target: "app:answer"): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app:greet", person: app.greet.Person, loud?: boolean): funcs.Future?, funcs.Error?
---@param target string
---@param ... any
---@return funcs.Future? result
---@return funcs.Error? err
function executor:async(target, ...) end

return funcs
