Profile: KoordBlock
Parent: Consent
Id: koord-block
Title: "Spärr: a block"
Description: "An inner spärr closes a unit's records to other units (PDL 4 kap. 4 §), an outer one a provider's to other providers (lag (2022:913) 2 kap.). No consent lifts it; a dated lift stands inside it (PDL 4 kap. 5 §)."
* obeys koord-block-act
* insert ConsentCore(block-kind, http://snomed.info/sct)
* insert Denies
* status = #active
