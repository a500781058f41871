package recovery

// Event names what a log line, an alert or a line of the history is about. It
// is the value of the key "event" in the log: people search for it and alert
// on it, so a name stays as it is once it was released.
type Event string

// Decisions about a service or about all of them.
const (
	EventWaiting            Event = "waiting"
	EventRestarting         Event = "restarting"
	EventStarting           Event = "starting"
	EventRestarted          Event = "restarted"
	EventDryRun             Event = "dry_run"
	EventRestartFailed      Event = "restart_failed"
	EventRestartIneffective Event = "restart_ineffective"
	EventRecovered          Event = "recovered"
	EventHealthyAgain       Event = "healthy_again"
	EventGaveUp             Event = "gave_up"
	EventNotRestarted       Event = "not_restarted"
	EventNotFollowed        Event = "not_followed"
	EventShuttingDown       Event = "shutting_down"
	EventShutDown           Event = "shut_down"
	EventStopFailed         Event = "stop_failed"
	EventStable             Event = "stable"
	EventReset              Event = "reset"
	EventSnoozed            Event = "snoozed"
	EventPaused             Event = "paused"
	EventSnoozeOver         Event = "snooze_over"
	EventRecreated          Event = "recreated"
	EventRestartedByOther   Event = "restarted_by_other"
	EventLeftAlone          Event = "left_alone"
	EventDependentFailing   Event = "dependent_failing"
	EventOrphaned           Event = "orphaned"
	EventThrottled          Event = "throttled"
	EventThrottleOver       Event = "throttle_over"
	EventLabelIgnored       Event = "label_ignored"
	EventHeld               Event = "held"
	EventReleased           Event = "released"
	EventNeedsPerson        Event = "needs_person"
	EventOverloaded         Event = "overloaded"
	EventOverloadOver       Event = "overload_over"
	EventVanished           Event = "vanished"
	EventRemoved            Event = "removed"
	EventOptedOut           Event = "opted_out"
	EventCrashLoop          Event = "crash_loop"
	EventPolicyExhausted    Event = "policy_exhausted"
	EventUnverified         Event = "unverified"
	EventStartsSlowly       Event = "starts_slowly"
	EventStaleProbe         Event = "stale_probe"
	EventTwins              Event = "twins"
	EventEngineLost         Event = "engine_lost"
	EventEngineBack         Event = "engine_back"
)

// What the program says of itself.
const (
	EventStarted           Event = "started"
	EventListening         Event = "listening"
	EventStopping          Event = "stopping"
	EventStopped           Event = "stopped"
	EventStreamEnded       Event = "stream_ended"
	EventEngineUnreachable Event = "engine_unreachable"
	EventListFailed        Event = "list_failed"
	EventInspectFailed     Event = "inspect_failed"
	EventConfigRead        Event = "config_read"
	EventConfigRefused     Event = "config_refused"
	EventHeartbeat         Event = "heartbeat"
	EventNoEvidence        Event = "no_evidence"
	EventStateNotLoaded    Event = "state_not_loaded"
	EventStateNotSaved     Event = "state_not_saved"
	EventAlertNotDelivered Event = "alert_not_delivered"
	EventTemplateFailed    Event = "template_failed"
	EventControlNotServed  Event = "control_not_served"
	EventVariableIgnored   Event = "variable_ignored"
	EventRemembered        Event = "remembered"
	EventWatching          Event = "watching"
	EventMatchesNothing    Event = "matches_nothing"
)

// Events lists every event with what it means, for the documentation.
var Events = []struct {
	Name Event
	What string
}{
	{EventWaiting, "a restart is due after the backoff or --unhealthy-for; `delay` says when"},
	{EventRestarting, "the engine is asked for a restart"},
	{EventStarting, "a restart failed half-way, and the engine is asked for a start"},
	{EventRestarted, "the engine has restarted the container; alert, warning"},
	{EventDryRun, "with --dry-run: it would be restarted; alert, warning"},
	{EventRestartFailed, "the engine refused the restart, or did not answer in time"},
	{EventRestartIneffective, "a restart failed or did not make the container healthy"},
	{EventRecovered, "it is healthy again, which closes its incident; alert, info"},
	{EventHealthyAgain, "it became healthy by itself before the restart was due"},
	{EventGaveUp, "no attempts are left; alert, critical"},
	{EventNotRestarted, "it needs a restart, and its action is notify; alert, critical"},
	{EventNotFollowed, "what it depends on was restarted, and its own action is another; alert, warning"},
	{EventShuttingDown, "the engine is asked to stop it, by --action stop or --on-give-up stop"},
	{EventShutDown, "it is down, and stays so until somebody starts or recreates it, or resets it; alert, critical, unless it was given up before"},
	{EventStopFailed, "the engine did not stop it; after three tries an alert, critical"},
	{EventStable, "healthy for --stable-for: its attempts are cleared"},
	{EventReset, "a person reset its attempts"},
	{EventRecreated, "a new container took the place of one that was not healthy"},
	{EventRestartedByOther, "somebody else restarted it, and it is watched anew"},
	{EventLeftAlone, "somebody stopped or paused it, or it has finished: nothing more is done"},
	{EventDependentFailing, "restarted after its dependency, failing, and not watched; alert, warning"},
	{EventOrphaned, "it uses the network of a container that is gone; alert, critical"},
	{EventThrottled, "restarts wait for --max-restarts; alert, critical"},
	{EventThrottleOver, "no restart waits for the limits any more; alert, info"},
	{EventHeld, "a restart would not help before what it waits for is there; an alert, warning, where nobody else is to be told of that"},
	{EventSnoozed, "a person has asked for a pause"},
	{EventPaused, "it needs a restart, which waits for the end of a snooze or of its quiet hours; once per pause"},
	{EventSnoozeOver, "a snooze has ended, by time or by a person: what waits is decided anew"},
	{EventReleased, "a hold went on for --hold-max, or its dependency's recovery did not help: its action comes now"},
	{EventNeedsPerson, "no restart can help against its cause; alert, critical"},
	{EventOverloaded, "the host is overloaded, as the probes of most services or the calls to the engine say: nothing is restarted; alert, critical"},
	{EventOverloadOver, "the host is not overloaded any more; alert, info"},
	{EventVanished, "it ended, and no event said how: a person may have stopped it; alert, warning"},
	{EventRemoved, "its container was removed, which closes its incident; alert, info"},
	{EventOptedOut, "it is not watched any more, which closes its incident; alert, info"},
	{EventCrashLoop, "its own restart policy restarts it again and again, or cannot start it; alert, warning"},
	{EventPolicyExhausted, "its own restart policy has ceased to restart it; alert, critical"},
	{EventUnverified, "a restart brought no verdict, and its own restart policy is in charge; alert, critical"},
	{EventStartsSlowly, "it has been starting for longer than its healthcheck allows"},
	{EventStaleProbe, "the engine has ceased to run its probes"},
	{EventTwins, "two running containers have the same compose labels: both are watched"},
	{EventLabelIgnored, "a label of the container has a value that is not understood"},
	{EventEngineLost, "the engine has not answered for a minute; alert, critical"},
	{EventEngineBack, "the engine answers again; alert, info"},
	{EventStarted, "the watchdog watches; with --notify-start an alert, info"},
	{EventListening, "the page, /healthz, /metrics and /api/status are served"},
	{EventStopping, "it was asked to stop, and waits for restarts in flight"},
	{EventStopped, "it has stopped"},
	{EventStreamEnded, "the engine closed the stream of events"},
	{EventEngineUnreachable, "a new stream of events could not be opened"},
	{EventListFailed, "the engine did not list its containers"},
	{EventInspectFailed, "the engine did not describe a container"},
	{EventNoEvidence, "what was known of a container before its restart could not be had in time, or not be kept"},
	{EventConfigRead, "SIGHUP: the configuration was read anew, or what of it needs a restart of the watchdog"},
	{EventConfigRefused, "SIGHUP: the new configuration is not good, and the old one holds"},
	{EventHeartbeat, "--heartbeat cannot be sent, or can be again; logged when it changes"},
	{EventStateNotLoaded, "the state file could not be read"},
	{EventStateNotSaved, "the state file could not be written; logged once per cause"},
	{EventAlertNotDelivered, "a receiver did not take an alert after all tries"},
	{EventTemplateFailed, "a template of --notify-title, --notify-text or a receiver could not be carried out; the alert went out in the built-in form"},
	{EventControlNotServed, "the socket of status, history and reset could not be opened"},
	{EventVariableIgnored, "a variable of docker-autoheal that has no effect here"},
	{EventRemembered, "a service that the last run had given up or held"},
	{EventWatching, "which containers are watched, and why; after the first list"},
	{EventMatchesNothing, "a name of --services that no container has"},
}
