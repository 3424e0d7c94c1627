Profile: KoordIntervention
Parent: KoordTask
Id: koord-intervention
Title: "Koordineringsinsats: a coordination intervention"
Description: "Personal support, internal coordination or collaboration with other actors (lag (2019:1297) 3 §), journalled as KVÅ GC001 without diagnosis."
* extension contains
    Version named version 1..1 and
    Sequence named sequence 1..1 and
    Met named met 0..* and
    Channel named channel 0..1 and
    ConsentReference named consent 0..1
* intent = #order
* code.coding ^slicing.discriminator.type = #value
* code.coding ^slicing.discriminator.path = "system"
* code.coding ^slicing.rules = #open
* code.coding contains
    kind 1..1 and
    kva 0..1
* code.coding[kind].system = $intervention-kind
* code.coding[kind] from https://koord.example/fhir/ValueSet/intervention-kind (required)
* code.coding[kva].system = $kva
* code.coding[kva].code = #GC001
* code.coding[kva] ^short = "Required under this system or another of KVÅ's: koord-gc001"
* businessStatus from https://koord.example/fhir/ValueSet/business-status (extensible)
* insert SwedishSubject(for)
* insert Professional(requester)
* owner only Reference(Organization)
* basedOn only Reference(CarePlan)
* insert BusinessNumber(basedOn)
* output ^slicing.discriminator.type = #value
* output ^slicing.discriminator.path = "type"
* output ^slicing.rules = #open
* output contains
    outcome 0..1 and
    next-step 0..1
* output[outcome].type = $task-output#outcome
* output[outcome].value[x] only string
* output[next-step].type = $task-output#next-step
* output[next-step].value[x] only string
