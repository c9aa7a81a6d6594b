local ctx = require("ctx")
local funcs = require("funcs")
local json = require("json")
local logger = require("logger")
local time = require("time")

type Reminder = {request: string, date: string, weekday: string}

-- The day after `date` as JSON, with the id of the request that it is made for.
local function next_day(date: string): (string?, error?)
    local request, err = ctx.get("request_id")
    if err then return nil, err end
    local day, err = time.parse(time.DATE_ONLY, date)
    if err then return nil, err end
    local after = day:add_date(0, 0, 1)
    local reminder: Reminder = {
        request = request,
        date = after:format(time.DATE_ONLY),
        weekday = after:format("Monday"),
    }
    logger:info("made a reminder", {request = request, date = reminder.date})
    return json.encode(reminder)
end

local function reminder(date: string): (string?, error?)
    local text, err = funcs.new():with_context({request_id = "r-1"}):call("samples.app:next_day", date)
    if err then return nil, err end
    local decoded, err = json.decode(text)
    if err then return nil, err end
    local made = decoded as Reminder
    return ("%s, %s (%s)"):format(made.weekday, made.date, made.request)
end

return {reminder = reminder, next_day = next_day}
