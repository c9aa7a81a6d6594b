-- Functions of components are called as those of Lua are.
local funcs = require("funcs")

local function call_all()
    local greeting, err = funcs.call("demo.wasm:greet_function", "World")
    if err then return nil, err end
    local sum, err = funcs.call("demo.wasm:add_function", 6, 7)
    if err then return nil, err end
    local fib, err = funcs.call("demo.wasm:fibonacci_function", 10)
    if err then return nil, err end
    return { greeting = greeting, sum = sum, fib = fib }
end

return { call_all = call_all }
