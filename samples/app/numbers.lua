local funcs = require("funcs")

-- The mean of integers, rounded towards zero, and the sum of the first and the last.
local function numbers(values: {integer}): ({mean: integer, ends: integer}?, error?)
    local sum, err = funcs.call("samples.strings:sum", values)
    if err then return nil, err end
    local mean, err = funcs.call("samples.strings:divide", sum, #values)
    if err then return nil, err end
    local ends, err = funcs.call("samples.wat:add", values[1], values[#values])
    if err then return nil, err end
    return {mean = mean, ends = ends}
end

return numbers
