-- Collapses requests for one address within a worker: the first asks (its "flight"), the others sleep on a semaphore
-- and are woken when the answer is there. What it keeps in memory has bounds.
local semaphore = require "ngx.semaphore"
local lrucache = require "resty.lrucache"

local FLIGHTS_MAX = 4096        -- addresses under way; more are passed on by themselves
local KEPT_MAX = 512            -- answers in memory, for waves of thousands that would each open the cache's file
local KEPT_BODY_MAX = 65536     -- bytes: so at most 32 MB in each worker
local WAIT_S = 25               -- longer than two slices
local TRIES_S = 12              -- for so long an origin that is away is asked again, once a second

local kept = assert(lrucache.new(KEPT_MAX))
local flights, under_way = {}, 0
-- Of the connection to the origin, not of the answer.
local HOP = { connection = true, ["keep-alive"] = true, ["transfer-encoding"] = true, ["content-length"] = true,
              date = true, server = true }

local AWAY = {
    status = 503,
    header = { ["Content-Type"] = "application/json", ["Access-Control-Allow-Origin"] = "*",
               ["Access-Control-Expose-Headers"] = "ETag, Touchline-Id, Retry-After",
               ["X-Content-Type-Options"] = "nosniff" },
    body = '{"error":{"code":"origin_unavailable","message":"the origin does not answer"}}',
}

-- Ask until there is a whole answer, for so many seconds: a cut one and a restart are noticed by nobody.
local function fetch(address, tries_s)
    local began, res = ngx.now(), nil
    local pause = 0.05
    repeat
        res = ngx.location.capture(address, { method = ngx.HTTP_GET })
        if not res.truncated and (res.status < 500 or tries_s == 0) then return res end
        if tries_s == 0 then return AWAY end
        ngx.sleep(pause)
        pause = 1
        ngx.update_time()
    until ngx.now() - began > tries_s
    return AWAY
end

local function send(res)
    ngx.status = res.status
    for name, value in pairs(res.header) do
        if not HOP[string.lower(name)] then ngx.header[name] = value end
    end
    if res.status >= 500 then
        ngx.header["Retry-After"] = "1"
        ngx.header["Cache-Control"] = "no-store"
    end
    ngx.header["Content-Length"] = #res.body
    ngx.print(res.body)
end

-- What is in memory, or what the one request under way brings.
local function shared(address, key, tries_s, keep_s)
    local res = kept:get(key)
    if res then return send(res) end
    local flight = flights[key]
    if flight then
        flight.waiting = flight.waiting + 1
        flight.door:wait(WAIT_S)
        -- Nobody gets what was set for somebody else.
        if flight.res and flight.res.header["Set-Cookie"] then return ngx.exec("@plain") end
        return send(flight.res or AWAY)
    end
    if under_way >= FLIGHTS_MAX then return ngx.exec("@plain") end
    flight = { door = semaphore.new(0), waiting = 0 }
    flights[key] = flight
    under_way = under_way + 1
    local ok, found = pcall(fetch, address, tries_s)
    flight.res = ok and found or AWAY
    flights[key] = nil
    under_way = under_way - 1
    if #flight.res.body <= KEPT_BODY_MAX and not flight.res.header["Set-Cookie"] then
        kept:set(key, flight.res, keep_s(flight.res))
    end
    if flight.waiting > 0 then flight.door:post(flight.waiting) end
    if not ok then ngx.log(ngx.ERR, found) end
    return send(flight.res)
end

-- A fragment that may yet be told better has s-maxage; it is kept as briefly as an error.
local function while_it_is_true(res)
    local control = res.header["Cache-Control"] or ""
    return res.status == 200 and string.find(control, "immutable", 1, true) and 30 or 1
end

local function a_second()
    return 1
end

-- A long-poll or a fragment, which a cache behind the address of the fill keeps.
local function answer(fill, uri, key)
    if ngx.req.get_method() ~= "GET" then return ngx.exec("@plain") end
    return shared(fill .. uri, key, TRIES_S, while_it_is_true)
end

-- A page that has expired or is asked for past the cache: asked for once, and not again if the origin fails, since the
-- cache in front has an older one.
local function once(fill, uri, ...)
    if ngx.req.get_method() ~= "GET" then return ngx.exec("@plain") end
    return shared(fill .. uri, table.concat({ uri, ... }, "|"), 0, a_second)
end

return { answer = answer, once = once }
