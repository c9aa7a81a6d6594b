local M = {}

function M.f(a: string,)
end

return M
