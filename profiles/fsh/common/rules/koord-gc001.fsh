Invariant: koord-gc001
Description: "A Task that names a kind of intervention names KVÅ GC001 too, under one of the three systems that KVÅ goes by."
Severity: #error
Expression: "code.coding.where(system = 'https://koord.example/fhir/CodeSystem/intervention-kind').empty() or code.coding.where(code = 'GC001' and (system = 'urn:oid:1.2.752.116.1.3.2.1.4' or system = 'https://www.socialstyrelsen.se/statistik-och-data/klassifikationer-och-koder/kva/' or system = 'urn:oid:1.2.752.116.1.1.1.1.1')).exists()"
