Invariant: koord-block-act
Description: "An inner spärr rests on patientdatalagen (2008:355), an outer one on lag (2022:913)."
Severity: #error
Expression: "(category.coding.where(system = 'http://snomed.info/sct' and code = '416409005').exists() implies policyBasis.url.where(contains('2008355')).exists()) and (category.coding.where(system = 'http://snomed.info/sct' and code = '416308001').exists() implies policyBasis.url.where(contains('2022913')).exists())"
