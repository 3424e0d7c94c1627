// A message about one Task: its event is the Task's code.
RuleSet: Message(name, event, profile)
* url = "https://koord.example/fhir/MessageDefinition/{name}"
* status = #draft
* experimental = false
* date = "2026-11-22"
* eventCoding = $task-kind#{event}
* category = #consequence
* focus.code = #Task
* focus.profile = "https://koord.example/fhir/StructureDefinition/{profile}"
* focus.min = 1
* focus.max = "1"
