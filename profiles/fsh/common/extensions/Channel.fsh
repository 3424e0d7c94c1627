Extension: Channel
Id: channel
Title: "How people met"
Description: "How the patient, or an actor, was met: visit, phone, video or letter."
Context: Task
* insert Holds(Coding)
* value[x] from https://koord.example/fhir/ValueSet/channel (extensible)
