local function f(list)
    for _, item in ipairs(list) do
        if not item then goto next end
        print(item)
    end
end
return f
