Extension: ContactWished
Id: contact-wished
Title: "How contact is wished"
Description: "How the coordinator wishes to be contacted."
Context: Task
* insert Holds(Coding)
* value[x] from https://koord.example/fhir/ValueSet/channel (extensible)
