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
