Profile: KoordConsentInterventions
Parent: KoordConsent
Id: koord-consent-interventions
Title: "Consent to coordination interventions"
Description: "The patient agrees to be given coordination interventions (lag (2019:1297) 3 § 2 st). Without it there are none."
* category[kind] = $consent-kind#interventions
* insert Act([[https://www.riksdagen.se/sv/dokument-lagar/dokument/svensk-forfattningssamling/lag-20191297-om-koordineringsinsatser-for_sfs-2019-1297]])
