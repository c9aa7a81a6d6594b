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

---@alias app.my_lib.colour "red"|"dark-green"

---@alias app.my_lib.colour.input "red"|"dark-green"|integer

---@class app.my_lib.find.user
---@field id integer
---@field first_name string
---@field ["first-name"] string the same as `first_name`
---@field nick? string
---@field colour app.my_lib.colour

---@class app.my_lib.find.user.input
---@field id integer
---@field first_name? string
---@field ["first-name"]? string the same as `first_name`
---@field nick? string
---@field colour app.my_lib.colour.input

---@class app.my_lib.find_in_table.user
---@field id integer
---@field first_name string
---@field ["first-name"] string the same as `first_name`
---@field nick? string
---@field colour app.my_lib.colour

---@class app.my_lib.find_in_table.user.input
---@field id integer
---@field first_name? string
---@field ["first-name"]? string the same as `first_name`
---@field nick? string
---@field colour app.my_lib.colour.input

---@alias app.my_lib.marks { ["read-only"]?: boolean, hidden?: boolean }

---@alias app.my_lib.marks.input ("read-only"|"hidden")[]|{ ["read-only"]?: boolean, hidden?: boolean }|integer

---@class app.my_lib.other.user
---@field name string

---@class app.my_lib.point
---@field x number
---@field y number

---@alias app.my_lib.shape { none: true }|{ circle: number }|{ polygon: app.my_lib.point[] }

---@alias app.my_lib.shape.input { none: true }|{ circle: number }|{ polygon: app.my_lib.point[] }|"none"

---@alias app.my_lib.declared.Handler fun(p1: app.my_lib.declared.Person, retry?: number, ...: string): boolean, funcs.Error?

---@class app.my_lib.declared.Named
---@field name string
---@field tags? string[]

---@alias app.my_lib.declared.Person { name: string, tags?: string[], age: number }

---@alias app.my_lib.declared.Score number

---@alias app.my_lib.declared.State { status: "loading" }|{ status: "done", value: any, ["end"]: 5 }

---@class app.my_lib.declared.Tree
---@field value number
---@field children app.my_lib.declared.Tree[]
---@field parent? app.my_lib.declared.Tree

---@overload fun(target: "app.my-lib:carried", ...: any): any, funcs.Error?
---@overload fun(target: "app.my-lib:declared", person: app.my_lib.declared.Person, state: app.my_lib.declared.State, named: app.my_lib.declared.Named, tree?: app.my_lib.declared.Tree, endless: any[][][][], handler?: app.my_lib.declared.Handler, score: app.my_lib.declared.Score, ...: { ok: true, value: string }|{ ok: false, error: app.my_lib.declared.State }): ({ ok: true, value: app.my_lib.declared.Person[] }|{ ok: false, error: funcs.Error })?, funcs.Error?
---@overload fun(target: "app.my-lib:fails"): nil, funcs.Error?
---@overload fun(target: "app.my-lib:find", users: app.my_lib.find.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): ({ [1]: app.my_lib.find.user, [2]: app.my_lib.shape, [3]: app.my_lib.marks, [4]: string, [5]: { ok: string }|{ err: true } })?, funcs.Error?
---@overload fun(target: "app.my-lib:find_in_table", users: app.my_lib.find_in_table.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): ({ ok: { [1]: app.my_lib.find_in_table.user, [2]: app.my_lib.shape, [3]: app.my_lib.marks, [4]: string, [5]: { ok: string }|{ err: true } } }|{ err: string })?, funcs.Error?
---@overload fun(target: "app.my-lib:handler", h: fun(a: number)): (fun(p1: number): (string?)[])?, funcs.Error?
---@overload fun(target: "app.my-lib:loose", a?: any, b: table<string, any>, f: any, e: any): nil, funcs.Error?
---@overload fun(target: "app.my-lib:nothing", first: integer?, second: string|integer[], third?: string|integer): nil, funcs.Error?
---@overload fun(target: "app.my-lib:other", end_: app.my_lib.other.user, target_?: integer, more: { some: integer? }|{ none: true }|nil): app.my_lib.other.user?, funcs.Error?
---@overload fun(target: "app.my-lib:silent", ...: any): any, funcs.Error?
---@param target string
---@param ... any
---@return any result
---@return funcs.Error? err
function funcs.call(target, ...) end

---@overload fun(target: "app.my-lib:carried", ...: any): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:declared", person: app.my_lib.declared.Person, state: app.my_lib.declared.State, named: app.my_lib.declared.Named, tree?: app.my_lib.declared.Tree, endless: any[][][][], handler?: app.my_lib.declared.Handler, score: app.my_lib.declared.Score, ...: { ok: true, value: string }|{ ok: false, error: app.my_lib.declared.State }): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:fails"): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:find", users: app.my_lib.find.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:find_in_table", users: app.my_lib.find_in_table.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:handler", h: fun(a: number)): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:loose", a?: any, b: table<string, any>, f: any, e: any): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:nothing", first: integer?, second: string|integer[], third?: string|integer): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:other", end_: app.my_lib.other.user, target_?: integer, more: { some: integer? }|{ none: true }|nil): funcs.Future?, funcs.Error?
---@overload fun(target: "app.my-lib:silent", ...: any): funcs.Future?, funcs.Error?
---@param target string
---@param ... any
---@return funcs.Future? result
---@return funcs.Error? err
function funcs.async(target, ...) end

---@overload fun(self: funcs.Executor, target: "app.my-lib:carried", ...: any): any, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:declared", person: app.my_lib.declared.Person, state: app.my_lib.declared.State, named: app.my_lib.declared.Named, tree?: app.my_lib.declared.Tree, endless: any[][][][], handler?: app.my_lib.declared.Handler, score: app.my_lib.declared.Score, ...: { ok: true, value: string }|{ ok: false, error: app.my_lib.declared.State }): ({ ok: true, value: app.my_lib.declared.Person[] }|{ ok: false, error: funcs.Error })?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:fails"): nil, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:find", users: app.my_lib.find.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): ({ [1]: app.my_lib.find.user, [2]: app.my_lib.shape, [3]: app.my_lib.marks, [4]: string, [5]: { ok: string }|{ err: true } })?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:find_in_table", users: app.my_lib.find_in_table.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): ({ ok: { [1]: app.my_lib.find_in_table.user, [2]: app.my_lib.shape, [3]: app.my_lib.marks, [4]: string, [5]: { ok: string }|{ err: true } } }|{ err: string })?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:handler", h: fun(a: number)): (fun(p1: number): (string?)[])?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:loose", a?: any, b: table<string, any>, f: any, e: any): nil, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:nothing", first: integer?, second: string|integer[], third?: string|integer): nil, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:other", end_: app.my_lib.other.user, target_?: integer, more: { some: integer? }|{ none: true }|nil): app.my_lib.other.user?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:silent", ...: any): any, funcs.Error?
---@param target string
---@param ... any
---@return any result
---@return funcs.Error? err
function executor:call(target, ...) end

---@overload fun(self: funcs.Executor, target: "app.my-lib:carried", ...: any): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:declared", person: app.my_lib.declared.Person, state: app.my_lib.declared.State, named: app.my_lib.declared.Named, tree?: app.my_lib.declared.Tree, endless: any[][][][], handler?: app.my_lib.declared.Handler, score: app.my_lib.declared.Score, ...: { ok: true, value: string }|{ ok: false, error: app.my_lib.declared.State }): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:fails"): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:find", users: app.my_lib.find.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:find_in_table", users: app.my_lib.find_in_table.user.input[], marks: app.my_lib.marks.input, shape: app.my_lib.shape.input, origin: app.my_lib.point, letter: string|integer, pair: { [1]: integer, [2]: string }, limit?: integer): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:handler", h: fun(a: number)): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:loose", a?: any, b: table<string, any>, f: any, e: any): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:nothing", first: integer?, second: string|integer[], third?: string|integer): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:other", end_: app.my_lib.other.user, target_?: integer, more: { some: integer? }|{ none: true }|nil): funcs.Future?, funcs.Error?
---@overload fun(self: funcs.Executor, target: "app.my-lib:silent", ...: any): funcs.Future?, funcs.Error?
---@param target string
---@param ... any
---@return funcs.Future? result
---@return funcs.Error? err
function executor:async(target, ...) end

return funcs
