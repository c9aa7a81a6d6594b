local M = {}

function M.join<T>(parts: {T}, separator: string?): string
    return table.concat(parts, separator or " ")
end

return M
